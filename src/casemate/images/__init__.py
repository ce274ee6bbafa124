"""Folders to images and back: pages, schemas, SIGSTRUCT, the developer's key.

Enclaves run ``schemas``, ``layout`` and ``errors`` at boot to read their own pages, so these import little. All else
makes and explains images on a developer's machine.

Example:
    image = build(Path("examples/keyword-search"), DeveloperKey.generate(), epoch=0)
    write_image(image, Path("dist"))
"""
