// The firmware's way to registers in a host build: functions that the test gives.
#include <stddef.h>

#include "mmio.h"
#include "scheduler.h"

typedef uint32_t (*read_fn)(uint32_t);
typedef void (*write_fn)(uint32_t, uint32_t);

static read_fn test_read;
static write_fn test_write;
static scheduler_t scheduler;

uint32_t mmio_read(uint32_t address) { return test_read(address); }
void mmio_write(uint32_t address, uint32_t value) { test_write(address, value); }
uint32_t mmio_local(volatile void *object) {
    return LEPTON_DATA_BASE + (uint32_t)((uintptr_t)object - (uintptr_t)&scheduler);
}

void *shim_open(read_fn read, write_fn write) {
    test_read = read;
    test_write = write;
    return scheduler_init(&scheduler) == RESULT_OK ? &scheduler : NULL;
}

size_t shim_size(void) { return sizeof scheduler; }

int shim_step(uint32_t events) {
    bool more = false;
    return scheduler_step(&scheduler, events, &more) == RESULT_OK ? more : -1;
}
