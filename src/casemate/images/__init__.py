"""Folders to images and back: manifest, pages, SIGSTRUCT, the developer's key.

Two halves. ``manifest``, ``schemas``, ``layout`` and ``errors`` read an image's pages; enclaves run them at boot, so
they import little. All else makes and explains images on a developer's machine.

Example:
    key = load_or_create_key(default_key_path(os.environ))
    image = build(Path("examples/keyword-search"), key, epoch=0)
    write_image(image, Path("dist"))
"""
