// What the compiler calls for copies and clears that it does not inline.
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memset(void *to, int value, size_t bytes);

void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
    unsigned char *target = to;
    const unsigned char *source = from;
    if ((((uintptr_t)to | (uintptr_t)from) & 3u) == 0) {
        for (; bytes >= 4; bytes -= 4, target += 4, source += 4) {
            *(uint32_t *)(void *)target = *(const uint32_t *)(const void *)source;
        }
    }
    while (bytes-- != 0) {
        *target++ = *source++;
    }
    return to;
}

void *memset(void *to, int value, size_t bytes) {
    unsigned char *target = to;
    if (((uintptr_t)to & 3u) == 0) {
        const uint32_t word = value == 0 ? 0 : (uint32_t)(unsigned char)value * 0x01010101u;
        for (; bytes >= 4; bytes -= 4, target += 4) {
            *(uint32_t *)(void *)target = word;
        }
    }
    while (bytes-- != 0) {
        *target++ = (unsigned char)value;
    }
    return to;
}
