"""Images of functions: a folder's files to pages and back, and the checks of the guest's modules."""
