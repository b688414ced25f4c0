"""The two public folder layouts of the patches.

The official release has ``TrainData|ValidData|TestData/{img,mask}``; the Hugging Face copy has
``images/{train,validation,test}`` and ``annotations/{…}``. A folder that holds ``img/`` itself is
accepted too. Files are known by the integer in ``image_N.h5`` and ``mask_N.h5`` and sorted by it:
a sort of the names would put 10 before 2. Only ``mask_*.h5`` counts as a mask, because the Hugging
Face ``annotations/train`` holds stray ``image_*.h5``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from l4s_ensemble.errors import ConfigError

OFFICIAL: dict[str, str] = {"train": "TrainData", "valid": "ValidData", "test": "TestData"}
"""Folder of each split in the official release."""

HUGGING_FACE: dict[str, str] = {"train": "train", "valid": "validation", "test": "test"}
"""Folder of each split below ``images`` and ``annotations`` in the Hugging Face copy."""

SPLITS: tuple[str, ...] = tuple(OFFICIAL)

_NAME = re.compile(r"^(image|mask)_([0-9]{1,18})\.h5$")  # an id is an int64


@dataclass
class Listing:
    """Files of one split."""

    split: str
    image_folder: Path
    mask_folder: Path
    images: dict[int, Path] = field(default_factory=dict)  # by integer id, in numeric order
    masks: dict[int, Path] = field(default_factory=dict)
    strays: list[Path] = field(default_factory=list)  # other names, or in the wrong folder
    # Two files of the same id: image_1.h5, image_01.h5.
    doubles: list[tuple[Path, Path]] = field(default_factory=list)

    @property
    def without_mask(self) -> list[int]:
        """Ids that have an image and no mask, in a split where others have one."""
        return [i for i in self.images if i not in self.masks] if self.masks else []

    @property
    def without_image(self) -> list[int]:
        """Ids that have a mask and no image."""
        return [i for i in self.masks if i not in self.images]


def split_folders(root: Path, split: str) -> tuple[Path, Path] | None:
    """Folders of a split's images and masks, or None if the root has no such split.

    Raises
    ------
    ConfigError
        If the split has an unknown name.
    """
    if split not in OFFICIAL:
        raise ConfigError("no such split", found=split, allowed=", ".join(SPLITS))
    official = root / OFFICIAL[split]
    name = HUGGING_FACE[split]
    for images, masks in (
        (official / "img", official / "mask"),
        (root / "images" / name, root / "annotations" / name),
    ):
        if images.is_dir():
            return images, masks
    return None


def list_split(root: Path, split: str) -> Listing | None:
    """List the files of one split, or return None if the root has no such split.

    A root that holds ``img/`` itself stands for any split.
    """
    folders = split_folders(root, split)
    if folders is None and (root / "img").is_dir():
        folders = root / "img", root / "mask"
    if folders is None:
        return None
    listing = Listing(split, *folders)
    _collect(folders[0], "image", listing.images, listing)
    _collect(folders[1], "mask", listing.masks, listing)
    return listing


def splits_in(root: Path) -> list[str]:
    """Names of the splits that a root holds, in the order train, valid, test."""
    return [split for split in SPLITS if split_folders(root, split) is not None]


def _collect(folder: Path, kind: str, found: dict[int, Path], listing: Listing) -> None:
    """Sort the files of one folder into ids, strays and doubles."""
    if not folder.is_dir():
        return
    numbered: list[tuple[int, Path]] = []
    for path in sorted(folder.iterdir()):
        match = _NAME.match(path.name)
        if match and match[1] == kind:
            numbered.append((int(match[2]), path))
        elif not path.name.startswith("."):
            listing.strays.append(path)
    for number, path in sorted(numbered):
        if number in found:
            listing.doubles.append((found[number], path))
        else:
            found[number] = path
