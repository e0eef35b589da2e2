// What is done to pictures where they lie: outlines drawn on NV12, and how much there is to see. The references are
// overlay.rs and complexity.rs beside this file.

struct Outline {
    int x1, y1, x2, y2;
    unsigned int thickness;
    unsigned char y, u, v, unused;
};

__device__ inline bool on_outline(const Outline& outline, int x, int y) {
    if (x < outline.x1 || x > outline.x2 || y < outline.y1 || y > outline.y2) return false;
    int thick = (int)outline.thickness;
    return x < outline.x1 + thick || x > outline.x2 - thick || y < outline.y1 + thick || y > outline.y2 - thick;
}

// One thread a chroma sample and the four of luma around it; the last outline lies on top.
extern "C" __global__ void overlay(unsigned char* luma, unsigned char* chroma, unsigned int luma_stride, unsigned int chroma_stride,
                                   unsigned int width, unsigned int height, const Outline* outlines, unsigned int count) {
    unsigned int column = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
    if (2 * column >= width || 2 * row >= height) return;
    for (unsigned int index = 0; index < count; index++) {
        Outline outline = outlines[index];
        bool touched = false;
        for (unsigned int corner = 0; corner < 4; corner++) {
            unsigned int x = 2 * column + corner % 2, y = 2 * row + corner / 2;
            if (x >= width || y >= height || !on_outline(outline, (int)x, (int)y)) continue;
            luma[(unsigned long long)y * luma_stride + x] = outline.y;
            touched = true;
        }
        if (touched) {
            unsigned char* at = chroma + (unsigned long long)row * chroma_stride + 2 * column;
            at[0] = outline.u;
            at[1] = outline.v;
        }
    }
}

// Sums how much neighbours differ, across and down, over all of the picture.
extern "C" __global__ void complexity(const unsigned char* luma, unsigned int stride, unsigned int width, unsigned int height,
                                      unsigned long long* sum) {
    unsigned int x = blockIdx.x * blockDim.x + threadIdx.x, part = 0;
    for (unsigned int y = blockIdx.y * blockDim.y + threadIdx.y; y < height && x < width; y += gridDim.y * blockDim.y) {
        const unsigned char* at = luma + (unsigned long long)y * stride + x;
        if (x + 1 < width) part += __usad(at[0], at[1], 0);
        if (y + 1 < height) part += __usad(at[0], at[stride], 0);
    }
    for (int step = 16; step > 0; step /= 2) part += __shfl_xor_sync(0xffffffffu, part, step);
    if (threadIdx.x == 0 && part > 0) atomicAdd(sum, (unsigned long long)part);
}
