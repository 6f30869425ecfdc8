"""Thumbnails: a piece of a picture, made to fit, as text that a page can hold."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from datasets.picture_files.picture_windows import PictureWindows

WIDTH, HEIGHT = 320, 240  # pixels of a thumbnail
LEAST_WINDOW = 64.0  # pixels of the picture that it shows at least
ROOM = 2.5  # side of the window by side of what it shows
QUALITY = 82
VOID_BGR = (48, 40, 36)  # what lies beyond the border


def window_around(points: np.ndarray, picture: np.ndarray | PictureWindows) -> np.ndarray:
    """The window (4,), xmin, ymin, xmax, ymax, that shows points (n, 2) with some room around them."""
    nearest = points.mean(axis=0).clip(0, picture.shape[1::-1])  # so that something is seen of one that lies outside
    low, high = np.minimum(points.min(axis=0), nearest), np.maximum(points.max(axis=0), nearest)
    width = max(ROOM * max(high[0] - low[0], (high[1] - low[1]) * WIDTH / HEIGHT), LEAST_WINDOW)
    half = np.array([width, width * HEIGHT / WIDTH]) / 2
    return np.concatenate([(low + high) / 2 - half, (low + high) / 2 + half])


def whole_window(picture: np.ndarray | PictureWindows) -> np.ndarray:
    """The window that shows all of the picture (H, W, 3)."""
    return np.array([0, 0, picture.shape[1], picture.shape[0]], np.float64)


def cut_window(
    picture: np.ndarray | PictureWindows, window: np.ndarray, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> np.ndarray:
    """The window of the picture (H, W, 3), made to fit `size` (width, height); void where there is no picture."""
    scale = min(size[0] / (window[2] - window[0]), size[1] / (window[3] - window[1]))
    room = (np.array(size) / scale - (window[2:] - window[:2])) / 2
    window = np.concatenate([window[:2] - room, window[2:] + room])
    height, width = picture.shape[:2]
    # Cut first, with a pixel of room, and shrink by areas: a picture of gigapixels is never warped whole.
    left, top = np.floor(np.clip(window[:2] - 1, 0, [width, height])).astype(int)
    right, bottom = np.ceil(np.clip(window[2:] + 1, 0, [width, height])).astype(int)
    canvas = np.full((size[1], size[0], 3), VOID_BGR, np.uint8)
    piece = picture[top:bottom, left:right]
    if piece.size == 0:
        return canvas
    step = min(1.0, scale)
    if step < 1:
        sides = [max(1, round(side * step)) for side in piece.shape[1::-1]]
        piece = cv2.resize(piece, sides, interpolation=cv2.INTER_AREA)
    matrix = np.array([[scale / step, 0, (left - window[0]) * scale], [0, scale / step, (top - window[1]) * scale]])
    matrix[:, 2] += (scale / step - 1) / 2  # OpenCV counts from the middle of a pixel
    border = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": VOID_BGR}
    return cv2.warpAffine(piece, matrix, size, flags=cv2.INTER_LINEAR, **border)


def data_address(picture: np.ndarray) -> str:
    """A picture (h, w, 3) uint8 BGR as a `data:` address of a JPEG."""
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
