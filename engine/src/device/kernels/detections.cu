// What a head proposes, thinned out so that only what is kept is copied to the host. It is of [batch, 4 + classes, anchors],
// or without a model's last steps, for each picture, of [4 x 16 bins + classes, anchors of the grid] for one grid after the
// other. The reference is detections.rs beside this file.

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

// Below all numbers; what is compiled at run time has no header that names it.
#define NOTHING __int_as_float(0xff800000)

// e to the power of a number that is at most nought, by the reference's own steps.
__device__ inline float power(float x) {
    if (x < -87.0f) x = -87.0f;
    float halvings = rintf(x * 1.44269504f);
    float rest = x - halvings * 0.693359375f - halvings * -2.12194440e-4f;
    float sum = 1.9875691500e-4f;
    sum = sum * rest + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 0.5f;
    return (sum * (rest * rest) + rest + 1.0f) * __int_as_float(((int)halvings + 127) << 23);
}

__device__ inline float logistic(float logit) {
    float part = power(logit > 0.0f ? -logit : logit);
    return (logit > 0.0f ? 1.0f : part) / (1.0f + part);
}

// Anchors whose numbers lie in rows together: how many come before them, how many they are, how far they are apart in pixels.
struct Grid {
    unsigned int first, anchors, stride;
};

// A head whose boxes and scores are ready.
struct Decoded {
    static const unsigned int box_rows = 4;
    unsigned int anchors;
    __device__ Grid grid(unsigned int) const { return {0, anchors, 0}; }
    __device__ float least() const { return 0.0f; }
    __device__ float score(float best) const { return best; }
    template <typename T>
    __device__ void corners(const T* boxes, const Grid&, unsigned int, Proposal& proposal) const {
        float x = wide(boxes[0]), y = wide(boxes[anchors]), width = wide(boxes[2ull * anchors]), height = wide(boxes[3ull * anchors]);
        proposal.x1 = x - width / 2.0f;
        proposal.y1 = y - height / 2.0f;
        proposal.x2 = x + width / 2.0f;
        proposal.y2 = y + height / 2.0f;
    }
};

// A head that tells of each side how its distance from the anchor's point is distributed, and of each class a logit.
struct Undecoded {
    static const unsigned int bins = 16, box_rows = 4 * bins;
    unsigned int width, height;
    __device__ unsigned int anchors(unsigned int stride) const { return (width / stride) * (height / stride); }
    __device__ Grid grid(unsigned int anchor) const {
        unsigned int first = 0, stride = 8;
        while (stride < 32 && anchor - first >= anchors(stride)) {
            first += anchors(stride);
            stride *= 2;
        }
        return {first, anchors(stride), stride};
    }
    __device__ float least() const { return NOTHING; }
    __device__ float score(float best) const { return logistic(best); }
    template <typename T>
    __device__ void corners(const T* boxes, const Grid& grid, unsigned int place, Proposal& proposal) const {
        float stride = (float)grid.stride;
        float x = ((float)(place % (width / grid.stride)) + 0.5f) * stride;
        float y = ((float)(place / (width / grid.stride)) + 0.5f) * stride;
        float distances[4];
        for (unsigned int side = 0; side < 4; side++) {
            const T* logits = boxes + (unsigned long long)side * bins * grid.anchors;
            float most = NOTHING, sum = 0.0f, weighed = 0.0f;
            for (unsigned int bin = 0; bin < bins; bin++) {
                float logit = wide(logits[(unsigned long long)bin * grid.anchors]);
                most = logit > most ? logit : most;
            }
            for (unsigned int bin = 0; bin < bins; bin++) {
                float share = power(wide(logits[(unsigned long long)bin * grid.anchors]) - most);
                sum += share;
                weighed += share * (float)bin;
            }
            distances[side] = stride * (weighed / sum);
        }
        proposal.x1 = x - distances[0];
        proposal.y1 = y - distances[1];
        proposal.x2 = x + distances[2];
        proposal.y2 = y + distances[3];
    }
};

// One thread an anchor: the best class, and a proposal where it is sure enough.
template <typename T, typename Form>
__device__ inline void propose(const T* head, const Choice* choices, const unsigned char* wanted, Proposal* proposals,
                               unsigned int* counts, unsigned int classes, unsigned int anchors, Form form) {
    unsigned int anchor = blockIdx.x * blockDim.x + threadIdx.x, picture = blockIdx.y;
    if (anchor >= anchors) return;
    Grid grid = form.grid(anchor);
    unsigned long long rows = Form::box_rows + classes;
    const T* boxes = head + rows * ((unsigned long long)picture * anchors + grid.first) + (anchor - grid.first);
    const T* scores = boxes + (unsigned long long)Form::box_rows * grid.anchors;
    float best = form.least();
    unsigned int kind = 0;
    for (unsigned int index = 0; index < classes; index++) {
        float score = wide(scores[(unsigned long long)index * grid.anchors]);
        if (score > best) {
            best = score;
            kind = index;
        }
    }
    best = form.score(best);
    if (!(best > choices[picture].min_score) || !wanted[(unsigned long long)picture * classes + kind]) return;
    Proposal proposal;
    form.corners(boxes, grid, anchor - grid.first, proposal);
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
    Decoded form = {anchors};
    propose(head, choices, wanted, proposals, counts, classes, anchors, form);
}
extern "C" __global__ void propose_f16(const unsigned short* head, const Choice* choices, const unsigned char* wanted,
                                       Proposal* proposals, unsigned int* counts, unsigned int classes, unsigned int anchors) {
    Decoded form = {anchors};
    propose(head, choices, wanted, proposals, counts, classes, anchors, form);
}

extern "C" __global__ void decode_f32(const float* head, const Choice* choices, const unsigned char* wanted, Proposal* proposals,
                                      unsigned int* counts, unsigned int classes, unsigned int anchors, unsigned int width,
                                      unsigned int height) {
    Undecoded form = {width, height};
    propose(head, choices, wanted, proposals, counts, classes, anchors, form);
}
extern "C" __global__ void decode_f16(const unsigned short* head, const Choice* choices, const unsigned char* wanted,
                                      Proposal* proposals, unsigned int* counts, unsigned int classes, unsigned int anchors,
                                      unsigned int width, unsigned int height) {
    Undecoded form = {width, height};
    propose(head, choices, wanted, proposals, counts, classes, anchors, form);
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
