// Pictures of any layout, scaled into the middle of a tensor of red, green and blue planes. The reference is
// letterbox.rs beside this file: the same operations in the same order, so that the same numbers come out.

struct Placed {
    unsigned long long planes[3];
    unsigned int strides[3];
    unsigned int format;
    unsigned int width, height;
    unsigned int inner_width, inner_height, left, top;
    float black, luma, red_by_v, green_by_u, green_by_v, blue_by_u;
};

// Where an output sample lies between two samples of a plane.
__device__ inline void place_on_axis(unsigned int output, unsigned int length, unsigned int outputs, unsigned int subsampling,
                                     unsigned int* before, float* share) {
    double scale = (double)length / (double)outputs;
    unsigned int samples = (length + subsampling - 1) / subsampling;
    double at = ((double)output + 0.5) * scale - 0.5;
    at = fmin(fmax(at, 0.0), (double)(length - 1));
    at = (at + 0.5) / (double)subsampling - 0.5;
    at = fmin(fmax(at, 0.0), (double)(samples - 1));
    *before = (unsigned int)at;
    *share = (float)(at - trunc(at));
}

__device__ inline float blend(float from, float to, float share) { return from + (to - from) * share; }

__device__ inline float sample(const Placed& picture, int plane, unsigned int channels, unsigned int channel, unsigned int across,
                               unsigned int down, unsigned int x, float x_share, unsigned int y, float y_share) {
    const unsigned char* bytes = (const unsigned char*)picture.planes[plane];
    unsigned int width = (picture.width + across - 1) / across, height = (picture.height + down - 1) / down;
    const unsigned char* upper = bytes + (unsigned long long)y * picture.strides[plane] + channel;
    const unsigned char* lower = bytes + (unsigned long long)min(y + 1, height - 1) * picture.strides[plane] + channel;
    unsigned int left = x * channels, right = min(x + 1, width - 1) * channels;
    float upper_left = upper[left], upper_right = upper[right], lower_left = lower[left], lower_right = lower[right];
    if (height > picture.inner_height) {
        return blend(blend(upper_left, lower_left, y_share), blend(upper_right, lower_right, y_share), x_share);
    }
    return blend(blend(upper_left, upper_right, x_share), blend(lower_left, lower_right, x_share), y_share);
}

__device__ inline float unit(float level) {
    level = level > 0.0f ? level : 0.0f;
    level = level < 255.0f ? level : 255.0f;
    return (level + 8388608.0f - 8388608.0f) * (1.0f / 255.0f);
}

__device__ inline void store(float* at, float value) { *at = value; }
__device__ inline void store(unsigned short* at, float value) {
    unsigned short half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
    *at = half;
}

template <typename T>
__device__ inline void letterbox(const Placed* pictures, T* tensor, unsigned int width, unsigned int height) {
    __shared__ Placed picture;
    // A block's 32 columns and 32 rows on the axes across and down, of luma and of chroma. Worked out once for all of its
    // pixels: they are made of fp64, of which most chips have little.
    __shared__ unsigned int before[4][32];
    __shared__ float shares[4][32];
    if (threadIdx.x == 0 && threadIdx.y == 0) picture = pictures[blockIdx.z];
    __syncthreads();
    if (picture.format > 5) return;
    unsigned int sub_x = picture.format == 0 || picture.format == 1 || picture.format == 3 ? 2 : 1;
    unsigned int sub_y = picture.format == 0 || picture.format == 3 ? 2 : 1;
    if (threadIdx.y < 4) {
        bool down = threadIdx.y >= 2, chroma = threadIdx.y % 2;
        unsigned int at = down ? blockIdx.y * 32 + threadIdx.x - picture.top : blockIdx.x * 32 + threadIdx.x - picture.left;
        unsigned int outputs = down ? picture.inner_height : picture.inner_width;
        if (at < outputs) {
            place_on_axis(at, down ? picture.height : picture.width, outputs, chroma ? (down ? sub_y : sub_x) : 1,
                          &before[threadIdx.y][threadIdx.x], &shares[threadIdx.y][threadIdx.x]);
        }
    }
    __syncthreads();
    unsigned int x = blockIdx.x * 32 + threadIdx.x;
    if (x >= width) return;
    unsigned long long plane = (unsigned long long)width * height;
    T* red = tensor + 3 * plane * blockIdx.z;
    bool inside_x = x - picture.left < picture.inner_width;
    unsigned int x_luma = before[0][threadIdx.x], x_chroma = before[1][threadIdx.x];
    float x_luma_share = shares[0][threadIdx.x], x_chroma_share = shares[1][threadIdx.x];
    for (unsigned int row = threadIdx.y; row < 32; row += 8) {
        unsigned int y = blockIdx.y * 32 + row;
        if (y >= height) return;
        unsigned long long at = (unsigned long long)y * width + x;
        float r = 114.0f / 255.0f, g = r, b = r;
        if (inside_x && y - picture.top < picture.inner_height) {
            unsigned int y_luma = before[2][row], y_chroma = before[3][row];
            float y_luma_share = shares[2][row], y_chroma_share = shares[3][row];
            if (picture.format == 5) {
                r = unit(sample(picture, 0, 3, 0, 1, 1, x_luma, x_luma_share, y_luma, y_luma_share));
                g = unit(sample(picture, 0, 3, 1, 1, 1, x_luma, x_luma_share, y_luma, y_luma_share));
                b = unit(sample(picture, 0, 3, 2, 1, 1, x_luma, x_luma_share, y_luma, y_luma_share));
            } else {
                float level = sample(picture, 0, 1, 0, 1, 1, x_luma, x_luma_share, y_luma, y_luma_share);
                level = (level - picture.black) * picture.luma;
                if (picture.format == 4) {
                    r = g = b = unit(level);
                } else {
                    bool joined = picture.format == 3;
                    float u = sample(picture, 1, joined ? 2 : 1, 0, sub_x, sub_y, x_chroma, x_chroma_share, y_chroma, y_chroma_share);
                    float v = sample(picture, joined ? 1 : 2, joined ? 2 : 1, joined ? 1 : 0, sub_x, sub_y, x_chroma, x_chroma_share,
                                     y_chroma, y_chroma_share);
                    u -= 128.0f;
                    v -= 128.0f;
                    r = unit(level + picture.red_by_v * v);
                    g = unit(level - picture.green_by_u * u - picture.green_by_v * v);
                    b = unit(level + picture.blue_by_u * u);
                }
            }
        }
        store(red + at, r);
        store(red + plane + at, g);
        store(red + 2 * plane + at, b);
    }
}

extern "C" __global__ void letterbox_f32(const Placed* pictures, float* tensor, unsigned int width, unsigned int height) {
    letterbox(pictures, tensor, width, height);
}
extern "C" __global__ void letterbox_f16(const Placed* pictures, unsigned short* tensor, unsigned int width, unsigned int height) {
    letterbox(pictures, tensor, width, height);
}
