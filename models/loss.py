"""What the network is taught: which cells answer for which box, and how far they are off.

Cells are assigned by how well they already do, in class and place together (Feng et al., "TOOD: Task-aligned One-stage
Object Detection", ICCV 2021). Classes are learnt by binary cross entropy against that alignment, boxes by CIoU (Zheng
et al., "Distance-IoU Loss", AAAI 2020), their sides by the distribution focal loss (Li et al., NeurIPS 2020).
"""

import math

import torch
from torch.nn import functional as F

from network import BINS, sides

# Weights of the three parts, and the assignment's exponents and breadth.
BOX, NAME, SIDE = 7.5, 0.5, 1.5
ALPHA, BETA, CANDIDATES = 0.5, 6.0, 10
# A box narrower than this many pixels may have no cell's middle inside: cells this near to its own middle count too.
REACH = 6.0


def ciou(a, b, complete=True):
    """Overlap of boxes [..., 4] of left, top, right, bottom; with `complete` less distance and difference of shape."""
    ax1, ay1, ax2, ay2 = a.unbind(-1)
    bx1, by1, bx2, by2 = b.unbind(-1)
    shared = (torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)).clamp(min=0) * (
        torch.minimum(ay2, by2) - torch.maximum(ay1, by1)
    ).clamp(min=0)
    aw, ah, bw, bh = ax2 - ax1, ay2 - ay1, bx2 - bx1, by2 - by1
    overlap = shared / (aw * ah + bw * bh - shared + 1e-7)
    if not complete:
        return overlap
    width = torch.maximum(ax2, bx2) - torch.minimum(ax1, bx1)
    height = torch.maximum(ay2, by2) - torch.minimum(ay1, by1)
    apart = ((ax1 + ax2 - bx1 - bx2) ** 2 + (ay1 + ay2 - by1 - by2) ** 2) / 4
    shape = 4 / math.pi**2 * (torch.atan(bw / (bh + 1e-7)) - torch.atan(aw / (ah + 1e-7))) ** 2
    with torch.no_grad():
        weight = shape / (1 - overlap + shape + 1e-7)
    return overlap - apart / (width**2 + height**2 + 1e-7) - weight * shape


@torch.no_grad()
def assign(scores, boxes, points, truth, names, real):
    """Which box each cell answers for.

    scores [B, N, C] probabilities, boxes [B, N, 4], points [N, 2], truth [B, M, 4], names [B, M], real [B, M].
    Gives the class targets [B, N, C], the box targets [B, N, 4] and which cells have one [B, N].
    """
    batch, cells, classes = scores.shape
    middle, half = (truth[..., :2] + truth[..., 2:]) / 2, (truth[..., 2:] - truth[..., :2]) / 2
    off = (points[None, None] - middle[:, :, None]).abs()
    inside = (off < half.clamp(min=REACH)[:, :, None]).all(-1) & real[..., None]
    probability = scores.transpose(1, 2).gather(1, names[..., None].expand(-1, -1, cells))
    overlap = ciou(truth[:, :, None], boxes[:, None], complete=True).clamp(min=0) * inside
    alignment = probability**ALPHA * overlap**BETA * inside
    top = alignment.topk(CANDIDATES, dim=-1)
    chosen = torch.zeros_like(alignment, dtype=torch.bool).scatter_(-1, top.indices, top.values > 1e-12)
    # Early on nothing overlaps a small box: the cell nearest to its middle answers for it in any case.
    nearest = off.square().sum(-1).argmin(-1, keepdim=True)
    chosen |= torch.zeros_like(chosen).scatter_(-1, nearest, real[..., None])
    # A cell that several boxes want goes to the one that it overlaps most.
    wanted = torch.where(chosen, overlap, torch.full_like(overlap, -1.0))
    best, owner = wanted.max(1)
    taken = best >= 0
    own = chosen & F.one_hot(owner, truth.shape[1]).transpose(1, 2).bool() & taken[:, None]
    alignment = alignment * own
    most = alignment.amax(-1, keepdim=True)
    reach = (overlap * own).amax(-1, keepdim=True)
    level = (alignment * reach / (most + 1e-12)).sum(1)
    # The one nearest cell of a box that nothing overlaps yet still learns that there is something.
    level = torch.where(taken, level.clamp(min=0.05), level)
    targets = F.one_hot(names.gather(1, owner), classes) * (level * taken)[..., None]
    return targets, truth.gather(1, owner[..., None].expand(-1, -1, 4)), taken


def loss(answer, points, strides, truth, names, real):
    """The three parts, summed, and each by itself; `truth` in pixels, padded where `real` is false."""
    distributions, logits = answer[0].float(), answer[1].float()
    reach = sides(distributions).transpose(1, 2) * strides[None, :, None]
    boxes = torch.cat((points - reach[..., :2], points + reach[..., 2:]), -1)
    logits = logits.transpose(1, 2)
    targets, goals, taken = assign(logits.sigmoid().detach(), boxes.detach(), points, truth, names, real)
    total = targets.sum().clamp(min=1)
    name = F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="sum") / total
    weight = targets.sum(-1) * taken
    box = ((1 - ciou(boxes, goals)) * weight).sum() / total
    distances = torch.cat((points - goals[..., :2], goals[..., 2:] - points), -1) / strides[None, :, None]
    distances = distances.clamp(0, BINS - 1 - 0.01)
    low = distances.long()
    share = distances - low
    batch, _, cells = distributions.shape
    flat = distributions.reshape(batch, 4, BINS, cells).permute(0, 3, 1, 2).log_softmax(-1)
    pick = lambda index: -flat.gather(-1, index[..., None])[..., 0]
    side = (pick(low) * (1 - share) + pick(low + 1) * share).mean(-1)
    side = (side * weight).sum() / total
    parts = torch.stack((BOX * box, NAME * name, SIDE * side))
    return parts.sum(), parts.detach()
