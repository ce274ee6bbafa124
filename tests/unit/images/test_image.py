from pathlib import Path

import pytest

from casemate.images.errors import ImageFileError
from casemate.images.functions.build import build
from casemate.images.functions.explain import INDEX_NAME, explain_pages
from casemate.images.image import Image, read_image, write_image
from casemate.images.keys import DeveloperKey
from casemate.wire.errors import WireError
from casemate.wire.sgx.sgxs import CODE_PAGE, DATA_PAGE, Segment, Sgxs


@pytest.fixture
def image(folder: Path, developer_key: DeveloperKey) -> Image:
    return build(folder, developer_key, epoch=0)


def test_an_image_is_two_files_and_any_of_their_names_gives_it_back(image: Image, tmp_path: Path) -> None:
    stream, sigstruct = write_image(image, tmp_path / "dist")
    assert stream.read_bytes() == image.sgxs
    assert sigstruct.read_bytes() == image.sigstruct
    for name in (stream, sigstruct, tmp_path / "dist" / "starter", tmp_path / "dist"):
        assert read_image(name) == image


def test_refuses_files_that_are_missing_ambiguous_or_too_large(image: Image, tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="cannot be read"):
        read_image(tmp_path / "none.sgxs")
    with pytest.raises(ImageFileError, match="holds 0 images"):
        read_image(tmp_path)
    stream, sigstruct = write_image(image, tmp_path)
    sigstruct.write_bytes(bytes(1809))
    with pytest.raises(ImageFileError, match="larger than 1808"):
        read_image(stream)
    (tmp_path / "other.sgxs").write_bytes(b"")
    with pytest.raises(ImageFileError, match="holds 2 images"):
        read_image(tmp_path)
    with pytest.raises(ImageFileError, match="cannot be written"):
        write_image(image, stream)


def test_every_page_is_explained_by_its_file(image: Image) -> None:
    ranges = explain_pages(image)
    assert [found.path for found in ranges[:2]] == [INDEX_NAME, "casemate.lock"]
    at = 0
    for found in ranges:
        assert found.offset == at
        at = found.end
    assert at == len(image.parse_sgxs().contents)
    by_path = {found.path: found for found in ranges}
    assert by_path["guest/main.js"].flags == CODE_PAGE
    assert by_path["guest/common.json"].flags == DATA_PAGE
    assert by_path["guest/main.js"].size == len(image.contents().files["guest/main.js"])


def test_refuses_to_explain_a_page_with_other_flags_than_its_files(image: Image) -> None:
    sgxs = image.parse_sgxs()
    flat = Sgxs(sgxs.ecreate, (Segment(0, len(sgxs.contents), CODE_PAGE),), sgxs.contents)
    with pytest.raises(WireError, match=r"EADD\.flags of '\(index\)'"):
        explain_pages(Image("x", flat.encode(), image.sigstruct))
