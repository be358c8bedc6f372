// The self-test at boot: the memories by hardware, then a known product through the whole array.
#ifndef LEPTON_SELFTEST_H
#define LEPTON_SELFTEST_H

#include "lepton_arch.h"
#include "result.h"

MUST_USE lepton_boot_error_t selftest_run(void);

#endif
