// What a head of [batch, 4 + classes, anchors] proposes, thinned out so that only what is kept is copied to the host.
// The reference is detections.rs beside this file.

struct Choice {
    float min_score, iou;
    unsigned int max, agnostic;
};
struct Proposal {
    float x1, y1, x2, y2, score;
    unsigned int kind, anchor, unused;
};
struct Kept {
    float x1, y1, x2, y2, score;
    unsigned int kind;
};

__device__ inline float wide(float value) { return value; }
__device__ inline float wide(unsigned short value) {
    float out;
    asm("cvt.f32.f16 %0, %1;" : "=f"(out) : "h"(value));
    return out;
}

// One thread an anchor: the best class, and a proposal where it is sure enough.
template <typename T>
__device__ inline void propose(const T* head, const Choice* choices, const unsigned char* wanted, Proposal* proposals,
                               unsigned int* counts, unsigned int classes, unsigned int anchors) {
    unsigned int anchor = blockIdx.x * blockDim.x + threadIdx.x, picture = blockIdx.y;
    if (anchor >= anchors) return;
    const T* boxes = head + (unsigned long long)picture * (4 + classes) * anchors + anchor;
    const T* scores = boxes + 4ull * anchors;
    float best = 0.0f;
    unsigned int kind = 0;
    for (unsigned int index = 0; index < classes; index++) {
        float score = wide(scores[(unsigned long long)index * anchors]);
        if (score > best) {
            best = score;
            kind = index;
        }
    }
    if (!(best > choices[picture].min_score) || !wanted[(unsigned long long)picture * classes + kind]) return;
    float x = wide(boxes[0]), y = wide(boxes[anchors]), width = wide(boxes[2ull * anchors]), height = wide(boxes[3ull * anchors]);
    Proposal proposal;
    proposal.x1 = x - width / 2.0f;
    proposal.y1 = y - height / 2.0f;
    proposal.x2 = x + width / 2.0f;
    proposal.y2 = y + height / 2.0f;
    bool whole = isfinite(proposal.x1) && isfinite(proposal.y1) && isfinite(proposal.x2) && isfinite(proposal.y2) && isfinite(best);
    if (!whole) return;
    proposal.score = best < 1.0f ? best : 1.0f;
    proposal.kind = kind;
    proposal.anchor = anchor;
    proposal.unused = 0;
    unsigned int slot = atomicAdd(&counts[picture], 1u);
    proposals[(unsigned long long)picture * anchors + slot] = proposal;
}

extern "C" __global__ void propose_f32(const float* head, const Choice* choices, const unsigned char* wanted, Proposal* proposals,
                                       unsigned int* counts, unsigned int classes, unsigned int anchors) {
    propose(head, choices, wanted, proposals, counts, classes, anchors);
}
extern "C" __global__ void propose_f16(const unsigned short* head, const Choice* choices, const unsigned char* wanted,
                                       Proposal* proposals, unsigned int* counts, unsigned int classes, unsigned int anchors) {
    propose(head, choices, wanted, proposals, counts, classes, anchors);
}

__device__ inline float overlap(const Kept& a, const Kept& b) {
    float width = fmaxf(fminf(a.x2, b.x2) - fmaxf(a.x1, b.x1), 0.0f);
    float height = fmaxf(fminf(a.y2, b.y2) - fmaxf(a.y1, b.y1), 0.0f);
    float shared = width * height;
    return shared / ((a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - shared);
}

__device__ inline Kept shifted(const Proposal& proposal, unsigned int agnostic) {
    float offset = agnostic ? 0.0f : (float)proposal.kind * 7680.0f;
    Kept moved = {proposal.x1 + offset, proposal.y1 + offset, proposal.x2 + offset, proposal.y2 + offset, proposal.score, proposal.kind};
    return moved;
}

// One block a picture: the surest proposal is kept and takes away what overlaps it, until none is left or enough are kept.
extern "C" __global__ void suppress(const Choice* choices, Proposal* all, const unsigned int* counts, Kept* kept, unsigned int* kept_counts,
                                    unsigned int anchors, unsigned int most) {
    unsigned int picture = blockIdx.x, count = min(counts[picture], anchors);
    Choice choice = choices[picture];
    Proposal* proposals = all + (unsigned long long)picture * anchors;
    __shared__ unsigned long long bests[32];
    __shared__ unsigned int winner;
    unsigned int found = 0, limit = min(choice.max, most);
    while (found < limit) {
        // Scores are above nought, so that their bits sort as they do; of equals the lower anchor goes first.
        unsigned long long best = 0;
        unsigned int slot = 0;
        for (unsigned int index = threadIdx.x; index < count; index += blockDim.x) {
            float score = proposals[index].score;
            if (score < 0.0f) continue;
            unsigned long long key = ((unsigned long long)__float_as_uint(score) << 32) | (0xffffffffu - proposals[index].anchor);
            if (key > best) {
                best = key;
                slot = index;
            }
        }
        unsigned long long own = best;
        for (int step = 16; step > 0; step /= 2) {
            unsigned long long other = __shfl_xor_sync(0xffffffffu, best, step);
            best = other > best ? other : best;
        }
        if (threadIdx.x % 32 == 0) bests[threadIdx.x / 32] = best;
        __syncthreads();
        best = bests[0];
        for (unsigned int warp = 1; warp < blockDim.x / 32; warp++) best = bests[warp] > best ? bests[warp] : best;
        if (best == 0) break;
        if (own == best) winner = slot;
        __syncthreads();
        Proposal chosen = proposals[winner];
        Kept over = shifted(chosen, choice.agnostic);
        __syncthreads();
        for (unsigned int index = threadIdx.x; index < count; index += blockDim.x) {
            if (proposals[index].score < 0.0f) continue;
            bool same = choice.agnostic || proposals[index].kind == chosen.kind;
            bool away = index == winner || (same && overlap(over, shifted(proposals[index], choice.agnostic)) > choice.iou);
            if (away) proposals[index].score = -1.0f;
        }
        if (threadIdx.x == 0) {
            Kept out = {chosen.x1, chosen.y1, chosen.x2, chosen.y2, chosen.score, chosen.kind};
            kept[(unsigned long long)picture * most + found] = out;
        }
        found++;
        __syncthreads();
    }
    if (threadIdx.x == 0) kept_counts[picture] = found;
}
