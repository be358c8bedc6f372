// What the driver functions return. A result must be used.
#ifndef LEPTON_RESULT_H
#define LEPTON_RESULT_H

typedef enum {
    RESULT_OK = 0,
    RESULT_BAD_ARGUMENT,  // a null pointer or a value out of range; nothing was done
    RESULT_BUSY,          // the hardware does something else; nothing was done
    RESULT_BOUNDS,        // hardware refused: it would have left a window or a memory; nothing was done
    RESULT_MEMORY,        // memory answered an error
    RESULT_STUCK,         // memory did not answer, or answered out of turn; memory and its ports have been reset
} result_t;

#define MUST_USE __attribute__((warn_unused_result))

#endif
