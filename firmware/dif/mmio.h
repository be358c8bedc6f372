// How the firmware reaches registers: the only place that differs between the chip and a host build.
#ifndef LEPTON_MMIO_H
#define LEPTON_MMIO_H

#include <stdint.h>

#include "lepton_arch.h"

#ifdef LEPTON_HOST_BUILD
uint32_t mmio_read(uint32_t address);
void mmio_write(uint32_t address, uint32_t value);
// The processor's address of an object that the copy engine is to reach.
uint32_t mmio_local(volatile void *object);
#else
static inline uint32_t mmio_read(uint32_t address) {
    return *(const volatile uint32_t *)(uintptr_t)address;
}

static inline void mmio_write(uint32_t address, uint32_t value) {
    *(volatile uint32_t *)(uintptr_t)address = value;
}

static inline uint32_t mmio_local(volatile void *object) {
    return (uint32_t)(uintptr_t)object;
}
#endif

// Memory that hardware has changed is read again.
static inline void mmio_barrier(void) {
    __asm__ volatile("" ::: "memory");
}

static inline uint32_t controller_read(uint32_t offset) {
    return mmio_read(LEPTON_PERIPHERAL_BASE + offset);
}

static inline void controller_write(uint32_t offset, uint32_t value) {
    mmio_write(LEPTON_PERIPHERAL_BASE + offset, value);
}

#endif
