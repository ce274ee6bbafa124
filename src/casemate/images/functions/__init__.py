"""Function images: a folder's files into pages and back, and what is checked of its guest's modules."""
