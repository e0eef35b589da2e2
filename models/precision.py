"""Mean average precision at an overlap of 0.5, all pictures of a batch at once.

Average precision is the area under the precision envelope over all points of recall (PASCAL VOC 2010 and later).
"""

import numpy as np
import torch

from loss import ciou

# Boxes of a picture that are looked at, the surest first.
MOST = 300


def suppress(boxes, scores, names, overlap=0.6):
    """Greedy non-maximum suppression by class; which of the boxes, sorted by score, stay."""
    same = names[:, :, None] == names[:, None]
    clash = (ciou(boxes[:, :, None], boxes[:, None], complete=False) > overlap) & same
    stays = torch.ones(scores.shape, dtype=torch.bool, device=scores.device)
    for rank in range(boxes.shape[1] - 1):
        stays[:, rank + 1 :] &= ~(clash[:, rank, rank + 1 :] & stays[:, rank, None])
    return stays


def match(output, truth, truth_names, real, least=0.01):
    """What a batch adds: score, class and whether it is right, of every box that stays."""
    best, names = output[:, 4:].max(1)
    scores, order = best.topk(min(MOST, best.shape[1]), dim=1)
    pick = lambda part: part.gather(1, order)
    names = pick(names)
    x, y, width, height = (pick(output[:, side]) for side in range(4))
    boxes = torch.stack((x - width / 2, y - height / 2, x + width / 2, y + height / 2), -1)
    stays = suppress(boxes, scores, names) & (scores > least)
    overlap = ciou(boxes[:, :, None], truth[:, None], complete=False)
    overlap = overlap * (names[:, :, None] == truth_names[:, None]) * real[:, None] * stays[..., None]
    free, right = real.clone(), torch.zeros_like(stays)
    for rank in range(boxes.shape[1]):
        most, which = (overlap[:, rank] * free).max(1)
        hit = most >= 0.5
        right[:, rank] = hit
        free &= ~(torch.nn.functional.one_hot(which, free.shape[1]).bool() & hit[:, None])
    return scores[stays].cpu().numpy(), names[stays].cpu().numpy(), right[stays].cpu().numpy()


def average(scores, right, total):
    """The area under precision over recall."""
    if total == 0:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((envelope * right[order]).sum() / total)


@torch.no_grad()
def measure(exported, pictures, height, width, classes, batch=128):
    """Average precision of each class."""
    parts, totals = [], np.zeros(classes)
    for start in range(0, len(pictures), batch):
        index = torch.arange(start, min(start + batch, len(pictures)), device=pictures.images.device)
        images, boxes, names, real = pictures.batch(index, height, width)
        parts.append(match(exported(images), boxes, names, real))
        totals += np.bincount(names[real].cpu().numpy(), minlength=classes)
    scores, found, right = (np.concatenate([part[column] for part in parts]) for column in range(3))
    return [average(scores[found == name], right[found == name], totals[name]) for name in range(classes)]
