"""Random views of photographs that look as if a video camera had made them.

Press photographs are sharp, close and well lit; video frames are wide, small, blurred, compressed and
overlaid with text. Every function takes and returns an H×W×3 ``uint8`` BGR image and draws all its
randomness from the generator it is given.
"""

from __future__ import annotations

import string
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from models.preprocessing import Fit, fit_image, resize

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def video_view(image: Image, rng: np.random.Generator, size: int) -> Image:
    """Return a ``size``×``size`` training view: geometry first, then light, then the camera's faults."""
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
    if rng.random() < 0.1:
        image = surround(image, rng)
    choice = rng.random()
    if choice < 0.65:
        view = random_resized_crop(image, rng, size)
    elif choice < 0.85:
        view = fit_image(image, size, size, Fit.SQUEEZE)
    else:
        view = fit_image(image, size, size, Fit.CROP if choice < 0.93 else Fit.LETTERBOX)
    if rng.random() < 0.5:
        view = change_light(view, rng)
    if rng.random() < 0.07:
        view = overlay_text(view, rng)
    if rng.random() < 0.35:
        view = degrade(view, rng)
    return view


def shifted_view(image: Image, rng: np.random.Generator, size: int) -> Image:
    """Squeeze, mirror every second image, shift and zoom by up to 8 %: for pictures that look alike."""
    view = fit_image(image, size, size, Fit.SQUEEZE)
    if rng.random() < 0.5:
        view = np.ascontiguousarray(view[:, ::-1])
    zoom, (right, down) = rng.uniform(0.92, 1.08), rng.uniform(-0.08, 0.08, 2) * size
    middle = (size - 1) / 2 * (1 - zoom)
    matrix = np.array([[zoom, 0, middle + right], [0, zoom, middle + down]])
    moved = cv2.warpAffine(view, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def random_resized_crop(
    image: Image, rng: np.random.Generator, size: int, smallest: float = 0.35, stretch: float = 1.8
) -> Image:
    """Crop a part of at least ``smallest`` of the area, squeezed by up to ``stretch`` (Szegedy 2015)."""
    height, width = image.shape[:2]
    area = height * width * rng.uniform(smallest, 1.0)
    aspect = float(np.exp(rng.uniform(np.log(0.8), np.log(stretch))))
    crop_width = min(width, max(8, round(float(np.sqrt(area * aspect)))))
    crop_height = min(height, max(8, round(float(np.sqrt(area / aspect)))))
    top = int(rng.integers(0, height - crop_height + 1))
    left = int(rng.integers(0, width - crop_width + 1))
    return resize(image[top : top + crop_height, left : left + crop_width], size, size)


def surround(image: Image, rng: np.random.Generator) -> Image:
    """Put the image on a larger canvas, as in letter-boxed portrait video: black, grey or blurred sides."""
    height, width = image.shape[:2]
    wider, higher = rng.uniform(1.0, 1.8), rng.uniform(1.0, 1.3)
    if rng.random() < 0.5:
        wider, higher = higher, wider
    canvas_height, canvas_width = round(height * higher), round(width * wider)
    if rng.random() < 0.3:
        small = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA)
        canvas = cv2.resize(small, (canvas_width, canvas_height), interpolation=cv2.INTER_CUBIC)
    else:
        shade = 0 if rng.random() < 0.7 else int(rng.integers(0, 256))
        canvas = np.full((canvas_height, canvas_width, 3), shade, np.uint8)
    top = int(rng.integers(0, canvas_height - height + 1))
    left = int(rng.integers(0, canvas_width - width + 1))
    canvas[top : top + height, left : left + width] = image
    return np.asarray(canvas, np.uint8)


def change_light(image: Image, rng: np.random.Generator) -> Image:
    """Change exposure, contrast, white balance and saturation; now and then drop all colour."""
    pixels = image.astype(np.float32)
    grey = pixels.mean(axis=2, keepdims=True)
    saturation = 0.0 if rng.random() < 0.04 else rng.uniform(0.5, 1.5)
    pixels = grey + (pixels - grey) * saturation
    pixels *= rng.uniform(0.92, 1.08, 3).astype(np.float32)
    contrast = rng.uniform(0.6, 1.4)
    level = float(grey.mean())
    pixels = (pixels - level) * contrast + level * rng.uniform(0.55, 1.4)
    return np.asarray(np.clip(pixels, 0, 255), np.uint8)


def overlay_text(image: Image, rng: np.random.Generator) -> Image:
    """Burn in a caption or a watermark."""
    image = image.copy()
    height, width = image.shape[:2]
    letters = list(string.ascii_letters + string.digits + "  ")
    for _ in range(int(rng.integers(1, 4))):
        text = "".join(rng.choice(letters, int(rng.integers(4, 18))))
        origin = (int(rng.integers(-width // 8, width // 2)), int(rng.integers(height // 10, height)))
        color = tuple(int(value) for value in rng.integers(0, 256, 3))
        scale = height / 224 * rng.uniform(0.3, 1.1)
        cv2.putText(
            image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, color, int(rng.integers(1, 3)), cv2.LINE_AA
        )
    return image


def degrade(image: Image, rng: np.random.Generator) -> Image:
    """Apply one or two of: low resolution, defocus, motion blur, sensor noise; then often JPEG blocks."""
    height, width = image.shape[:2]
    for fault in rng.permutation(4)[: int(rng.integers(1, 3))]:
        if fault == 0:
            factor = rng.uniform(0.3, 0.8)
            small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
            image = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
        elif fault == 1:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8)), np.uint8)
        elif fault == 2:
            image = motion_blur(image, rng)
        else:
            noise = rng.normal(0, rng.uniform(2, 12), image.shape).astype(np.float32)
            image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(12, 75))])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return image


def motion_blur(image: Image, rng: np.random.Generator) -> Image:
    """Average along a short line in a random direction, as a panning camera does."""
    length = int(rng.integers(3, max(4, image.shape[1] // 16)))
    angle = rng.uniform(0, np.pi)
    kernel = np.zeros((length, length), np.float32)
    middle = (length - 1) / 2
    for step in np.linspace(-middle, middle, 4 * length):
        row, column = round(middle + step * np.sin(angle)), round(middle + step * np.cos(angle))
        kernel[row, column] = 1
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


def lecture_view(image: Image, rng: np.random.Generator, size: int) -> Image:
    """The reference lecture's view: squeeze, then rotate ±30°, zoom and shift and shear ±15 to 20 %, flip."""
    view = fit_image(image, size, size, Fit.SQUEEZE)
    angle, shear = np.deg2rad(rng.uniform(-30, 30)), np.deg2rad(rng.uniform(-0.15, 0.15))
    zoom_x, zoom_y = rng.uniform(0.85, 1.15, 2)
    shift = rng.uniform(-0.2, 0.2, 2) * size
    rotate = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = rotate @ np.array([[1, -np.sin(shear)], [0, np.cos(shear)]]) @ np.diag([zoom_x, zoom_y])
    middle = np.full(2, (size - 1) / 2)
    offset = middle - matrix @ middle + shift
    moved = cv2.warpAffine(
        view, np.column_stack([matrix, offset]), (size, size), borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved[:, ::-1] if rng.random() < 0.5 else moved, np.uint8)


def steady_view(rng: np.random.Generator) -> Callable[[Image], Image]:
    """Draw one change and return what makes it: mirror, crop of at least 80 % of each side, light, colour.

    For videos: all frames are to change alike, or the change itself would look like motion.
    """
    mirrored = rng.random() < 0.5
    share, right, down = rng.uniform(0.8, 1.0), rng.random(), rng.random()
    gain = rng.uniform(0.75, 1.3) * rng.uniform(0.92, 1.08, 3)
    offset = rng.uniform(-15, 15)

    def change(image: Image) -> Image:
        height, width = image.shape[:2]
        kept_height, kept_width = max(1, round(share * height)), max(1, round(share * width))
        top, left = round(down * (height - kept_height)), round(right * (width - kept_width))
        view = image[top : top + kept_height, left : left + kept_width]
        if mirrored:
            view = view[:, ::-1]
        return np.clip(np.rint(view * gain + offset), 0, 255).astype(np.uint8)

    return change


def inset(image: Image, around: Image, rng: np.random.Generator) -> Image:
    """Show ``image`` small in ``around``, of the same size, as wide views show what photographs frame.

    0.4 to 0.8 of the width, anywhere, its edges often soft (like copy-paste, Ghiasi et al., CVPR 2021, but
    of whole images, as nothing tells where their subjects are).
    """
    height, width = image.shape[:2]
    part_width = int(width * rng.uniform(0.4, 0.8))
    part_height = int(np.clip(part_width * rng.uniform(0.75, 1.3), 0.35 * height, 0.85 * height))
    small = cv2.resize(image, (part_width, part_height), interpolation=cv2.INTER_AREA)
    top = int(rng.integers(0, height - part_height + 1))
    left = int(rng.integers(0, width - part_width + 1))
    opacity = np.ones((part_height, part_width, 1), np.float32)
    if rng.random() < 0.6:
        edge = rng.uniform(0.05, 0.2)
        down, right = (
            np.minimum(np.arange(side) + 1, np.arange(side)[::-1] + 1) / (edge * side)
            for side in (part_height, part_width)
        )
        opacity[:, :, 0] = np.clip(np.minimum(down[:, None], right), 0, 1)
    whole = around.copy()
    part = np.s_[top : top + part_height, left : left + part_width]
    below = whole[part].astype(np.float32)
    whole[part] = (below + (small - below) * opacity).astype(np.uint8)
    return whole


def mixed(images: Image, targets: Floats, rng: np.random.Generator) -> tuple[Image, Floats]:
    """Mix a batch with itself in another order and the targets in the same shares, each at least half itself.

    ``images`` are (N, H, W, 3), ``targets`` (N, classes). Half of the time the images are blended (Zhang et
    al.: mixup, ICLR 2018, with α = 0.4), else a rectangle of the other image covers part of each (Yun et
    al.: CutMix, ICCV 2019).
    """
    order = rng.permutation(len(images))
    if rng.random() < 0.5:
        kept = rng.beta(0.4, 0.4, len(images)).astype(np.float32)
        kept = np.maximum(kept, 1 - kept)
        share = kept[:, None, None, None]
        pixels = np.rint(images * share + images[order] * (1 - share)).astype(np.uint8)
    else:
        height, width = images.shape[1:3]
        pixels, kept = images.copy(), np.empty(len(images), np.float32)
        for row, other in enumerate(order):
            side = np.sqrt(rng.uniform(0, 0.5))
            part_height, part_width = int(height * side), int(width * side)
            top = int(rng.integers(0, height - part_height + 1))
            left = int(rng.integers(0, width - part_width + 1))
            part = np.s_[top : top + part_height, left : left + part_width]
            pixels[row][part] = images[other][part]
            kept[row] = 1 - part_height * part_width / (height * width)
    return pixels, targets * kept[:, None] + targets[order] * (1 - kept[:, None])
