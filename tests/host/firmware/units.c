// What the tests of single units need: registers that the test answers, and a scheduler to look at.
#include <stddef.h>

#include "mmio.h"
#include "scheduler.h"

typedef uint32_t (*read_fn)(uint32_t);
typedef void (*write_fn)(uint32_t, uint32_t);
typedef uint32_t (*local_fn)(uintptr_t);

static read_fn test_read;
static write_fn test_write;
static local_fn test_local;
static scheduler_t scheduler;

uint32_t mmio_read(uint32_t address) { return test_read(address); }
void mmio_write(uint32_t address, uint32_t value) { test_write(address, value); }
uint32_t mmio_local(volatile void *object) { return test_local((uintptr_t)object); }

scheduler_t *units_open(read_fn read, write_fn write, local_fn local) {
    test_read = read;
    test_write = write;
    test_local = local;
    return &scheduler;
}

size_t units_scheduler_size(void) { return sizeof scheduler; }

void units_time(uint32_t time[2]);

void units_time(uint32_t time[2]) { scheduler_time(time); }

int units_step(uint32_t events) {
    bool more = false;
    return scheduler_step(&scheduler, events, &more) == RESULT_OK ? more : -1;
}
