// Generated from host/lepton/arch by `python -m lepton.arch.c_header`; do not edit.
#ifndef LEPTON_ARCH_H
#define LEPTON_ARCH_H

#include <stdint.h>

#define LEPTON_VERSION 0x3u
#define LEPTON_CLIENTS 0x8u
#define LEPTON_CONTROLLER_WINDOW 0x8u
#define LEPTON_RING_ENTRIES 0x10u
#define LEPTON_PRIORITIES 0x4u
#define LEPTON_PATIENCE 0x8u
#define LEPTON_ROM_BYTES 0x1000u
#define LEPTON_CODE_BYTES 0x4000u
#define LEPTON_DATA_BYTES 0x2000u
#define LEPTON_ROM_BASE 0x0u
#define LEPTON_CODE_BASE 0x10000000u
#define LEPTON_DATA_BASE 0x20000000u
#define LEPTON_PERIPHERAL_BASE 0x30000000u
#define LEPTON_CHIP_BASE 0x40000000u
#define LEPTON_WINDOW_STRIDE 0x20u
#define LEPTON_JOB_MAGIC 0x424a4f4cu
#define LEPTON_IMAGE_MAGIC 0x4d494f4cu
#define LEPTON_JOB_BYTES 0x80u
#define LEPTON_COMPLETION_BYTES 0x80u
#define LEPTON_COMPLETION_RING 0x800u
#define LEPTON_RINGS_BYTES 0x1000u
#define LEPTON_LOG_EVENTS 0x80u
#define LEPTON_IMAGE_OFFSET 0x1000u

// Registers of the controller, offsets from LEPTON_PERIPHERAL_BASE.
#define LEPTON_REG_CONTROLLER_STATUS 0x004u  // rw: `BootState`
#define LEPTON_REG_DETAIL 0x008u  // rw: `BootError` after FAILED, the address after HALTED
#define LEPTON_REG_FIRMWARE 0x00cu  // rw: version of the firmware that runs
#define LEPTON_REG_CLIENT_IRQ 0x014u  // w1s: as CLIENT_IRQ_ENABLE: what is pending
#define LEPTON_REG_LOG_COUNT 0x018u  // rw: events written since the start
#define LEPTON_REG_CLIENT_RESET 0x01cu  // w1c: bit i: forget the jobs of client i, set its HEAD and DONE to 0; cleared when that is done
#define LEPTON_REG_TIME 0x020u  // ro: cycles since reset, low half
#define LEPTON_REG_TIME_HI 0x024u  // ro: high half
#define LEPTON_REG_EVENTS 0x040u  // w1c: `Event`
#define LEPTON_REG_WAIT 0x044u  // ro: EVENTS; the read is answered when one is pending, and the processor's clock stands still until then
#define LEPTON_REG_DOORBELLS 0x03cu  // w1c: bit i: the host wrote CONTROL or TAIL of client i
#define LEPTON_REG_TIMER 0x048u  // wo: raise Event.TIMER after this many cycles; 0 stops it
#define LEPTON_REG_LOCK 0x04cu  // wo: any write makes the code memory read-only until START
#define LEPTON_REG_BIST 0x050u  // wo: any write tests scratchpad and weight memory
#define LEPTON_REG_BIST_STATUS 0x054u  // ro: `BistStatus`
#define LEPTON_REG_COPY_WINDOW 0x060u  // wo: window of the next copy
#define LEPTON_REG_COPY_OFFSET 0x064u  // wo: offset in the window, a multiple of 4
#define LEPTON_REG_COPY_LOCAL 0x068u  // wo: processor's address, a multiple of 4
#define LEPTON_REG_COPY_LENGTH 0x06cu  // wo: bytes, a multiple of 4
#define LEPTON_REG_COPY_START 0x070u  // wo: `CopyMode`
#define LEPTON_REG_COPY_STATUS 0x074u  // ro: `CopyStatus`
#define LEPTON_REG_COPY_CRC 0x078u  // rw: state of the CRC32 over everything read by copies
#define LEPTON_REG_LAUNCH 0x080u  // wo: `Launch`
#define LEPTON_REG_LAUNCH_STATUS 0x084u  // ro: `LaunchStatus`; bits 15:8 count the jobs started
#define LEPTON_REG_LAUNCH_WINDOW 0x088u  // wo: window of the staged job
#define LEPTON_REG_LAUNCH_LIMIT 0x08cu  // wo: cycles until Event.LIMIT; 0: never
#define LEPTON_REG_RESULT_START 0x090u  // ro: TIME at the doorbell of the last job, low half
#define LEPTON_REG_RESULT_START_HI 0x094u  // ro: high half
#define LEPTON_REG_LAUNCH_TIMEOUT 0x100u  // rw: TIMEOUT of the staged job
#define LEPTON_REG_LAUNCH_LOAD_PROGRAM 0x104u  // rw: LOAD_PROGRAM of the staged job
#define LEPTON_REG_LAUNCH_LOAD_COUNT 0x108u  // rw: LOAD_COUNT of the staged job
#define LEPTON_REG_LAUNCH_TENSOR_PROGRAM 0x10cu  // rw: TENSOR_PROGRAM of the staged job
#define LEPTON_REG_LAUNCH_TENSOR_COUNT 0x110u  // rw: TENSOR_COUNT of the staged job
#define LEPTON_REG_LAUNCH_STORE_PROGRAM 0x114u  // rw: STORE_PROGRAM of the staged job
#define LEPTON_REG_LAUNCH_STORE_COUNT 0x118u  // rw: STORE_COUNT of the staged job
#define LEPTON_REG_LAUNCH_ROWS_PROGRAM 0x11cu  // rw: ROWS_PROGRAM of the staged job
#define LEPTON_REG_LAUNCH_ROWS_COUNT 0x120u  // rw: ROWS_COUNT of the staged job
#define LEPTON_REG_LAUNCH_PROGRAM 0x124u  // rw: offset of the region in the window
#define LEPTON_REG_LAUNCH_PROGRAM_SIZE 0x128u  // rw: its size in bytes
#define LEPTON_REG_LAUNCH_INPUT 0x12cu  // rw: offset of the region in the window
#define LEPTON_REG_LAUNCH_INPUT_SIZE 0x130u  // rw: its size in bytes
#define LEPTON_REG_LAUNCH_OUTPUT 0x134u  // rw: offset of the region in the window
#define LEPTON_REG_LAUNCH_OUTPUT_SIZE 0x138u  // rw: its size in bytes
#define LEPTON_REG_LAUNCH_SCRATCH 0x13cu  // rw: offset of the region in the window
#define LEPTON_REG_LAUNCH_SCRATCH_SIZE 0x140u  // rw: its size in bytes
#define LEPTON_REG_RESULT_STATUS 0x160u  // ro: STATUS of the last job
#define LEPTON_REG_RESULT_CYCLES 0x164u  // ro: CYCLES of the last job
#define LEPTON_REG_RESULT_COMPUTE 0x168u  // ro: COMPUTE of the last job
#define LEPTON_REG_RESULT_WAIT_READ 0x16cu  // ro: WAIT_READ of the last job
#define LEPTON_REG_RESULT_WAIT_WEIGHTS 0x170u  // ro: WAIT_WEIGHTS of the last job
#define LEPTON_REG_RESULT_WAIT_WRITE 0x174u  // ro: WAIT_WRITE of the last job
#define LEPTON_REG_RESULT_WAIT_SYNC 0x178u  // ro: WAIT_SYNC of the last job
#define LEPTON_REG_RESULT_IDLE 0x17cu  // ro: IDLE of the last job
#define LEPTON_REG_RESULT_READ_BEATS 0x180u  // ro: READ_BEATS of the last job
#define LEPTON_REG_RESULT_WRITE_BEATS 0x184u  // ro: WRITE_BEATS of the last job
#define LEPTON_REG_RESULT_ERROR_CODE 0x188u  // ro: ERROR_CODE of the last job
#define LEPTON_REG_RESULT_ERROR_ENGINE 0x18cu  // ro: ERROR_ENGINE of the last job
#define LEPTON_REG_RESULT_ERROR_COMMAND 0x190u  // ro: ERROR_COMMAND of the last job
#define LEPTON_REG_RESULT_ERROR_LAYER 0x194u  // ro: ERROR_LAYER of the last job
#define LEPTON_REG_RESULT_ERROR_ADDRESS 0x198u  // ro: ERROR_ADDRESS of the last job
#define LEPTON_REG_RESULT_ERROR_ADDRESS_HI 0x19cu  // ro: ERROR_ADDRESS_HI of the last job
#define LEPTON_REG_CLIENT0_BASE 0x1a0u  // ro: address of the window, low half
#define LEPTON_REG_CLIENT0_BASE_HI 0x1a4u  // ro: high half
#define LEPTON_REG_CLIENT0_SIZE 0x1a8u  // ro: size of the window in bytes
#define LEPTON_REG_CLIENT0_CONTROL 0x1acu  // ro: bit 0 enable, bits 5:4 highest priority
#define LEPTON_REG_CLIENT0_LIMIT 0x1b0u  // ro: longest time limit of a job in cycles; 0: none
#define LEPTON_REG_CLIENT0_TAIL 0x1b4u  // ro: doorbell: records written so far, modulo 2**32
#define LEPTON_REG_CLIENT0_HEAD 0x1b8u  // rw: records taken
#define LEPTON_REG_CLIENT0_DONE 0x1bcu  // rw: completions written
#define LEPTON_REG_CLIENT1_BASE 0x1c0u  // ro: address of the window, low half
#define LEPTON_REG_CLIENT1_BASE_HI 0x1c4u  // ro: high half
#define LEPTON_REG_CLIENT1_SIZE 0x1c8u  // ro: size of the window in bytes
#define LEPTON_REG_CLIENT1_CONTROL 0x1ccu  // ro: bit 0 enable, bits 5:4 highest priority
#define LEPTON_REG_CLIENT1_LIMIT 0x1d0u  // ro: longest time limit of a job in cycles; 0: none
#define LEPTON_REG_CLIENT1_TAIL 0x1d4u  // ro: doorbell: records written so far, modulo 2**32
#define LEPTON_REG_CLIENT1_HEAD 0x1d8u  // rw: records taken
#define LEPTON_REG_CLIENT1_DONE 0x1dcu  // rw: completions written
#define LEPTON_REG_CLIENT2_BASE 0x1e0u  // ro: address of the window, low half
#define LEPTON_REG_CLIENT2_BASE_HI 0x1e4u  // ro: high half
#define LEPTON_REG_CLIENT2_SIZE 0x1e8u  // ro: size of the window in bytes
#define LEPTON_REG_CLIENT2_CONTROL 0x1ecu  // ro: bit 0 enable, bits 5:4 highest priority
#define LEPTON_REG_CLIENT2_LIMIT 0x1f0u  // ro: longest time limit of a job in cycles; 0: none
#define LEPTON_REG_CLIENT2_TAIL 0x1f4u  // ro: doorbell: records written so far, modulo 2**32
#define LEPTON_REG_CLIENT2_HEAD 0x1f8u  // rw: records taken
#define LEPTON_REG_CLIENT2_DONE 0x1fcu  // rw: completions written
#define LEPTON_REG_CLIENT3_BASE 0x200u  // ro: address of the window, low half
#define LEPTON_REG_CLIENT3_BASE_HI 0x204u  // ro: high half
#define LEPTON_REG_CLIENT3_SIZE 0x208u  // ro: size of the window in bytes
#define LEPTON_REG_CLIENT3_CONTROL 0x20cu  // ro: bit 0 enable, bits 5:4 highest priority
#define LEPTON_REG_CLIENT3_LIMIT 0x210u  // ro: longest time limit of a job in cycles; 0: none
#define LEPTON_REG_CLIENT3_TAIL 0x214u  // ro: doorbell: records written so far, modulo 2**32
#define LEPTON_REG_CLIENT3_HEAD 0x218u  // rw: records taken
#define LEPTON_REG_CLIENT3_DONE 0x21cu  // rw: completions written
#define LEPTON_REG_CLIENT4_BASE 0x220u  // ro: address of the window, low half
#define LEPTON_REG_CLIENT4_BASE_HI 0x224u  // ro: high half
#define LEPTON_REG_CLIENT4_SIZE 0x228u  // ro: size of the window in bytes
#define LEPTON_REG_CLIENT4_CONTROL 0x22cu  // ro: bit 0 enable, bits 5:4 highest priority
#define LEPTON_REG_CLIENT4_LIMIT 0x230u  // ro: longest time limit of a job in cycles; 0: none
#define LEPTON_REG_CLIENT4_TAIL 0x234u  // ro: doorbell: records written so far, modulo 2**32
#define LEPTON_REG_CLIENT4_HEAD 0x238u  // rw: records taken
#define LEPTON_REG_CLIENT4_DONE 0x23cu  // rw: completions written
#define LEPTON_REG_CLIENT5_BASE 0x240u  // ro: address of the window, low half
#define LEPTON_REG_CLIENT5_BASE_HI 0x244u  // ro: high half
#define LEPTON_REG_CLIENT5_SIZE 0x248u  // ro: size of the window in bytes
#define LEPTON_REG_CLIENT5_CONTROL 0x24cu  // ro: bit 0 enable, bits 5:4 highest priority
#define LEPTON_REG_CLIENT5_LIMIT 0x250u  // ro: longest time limit of a job in cycles; 0: none
#define LEPTON_REG_CLIENT5_TAIL 0x254u  // ro: doorbell: records written so far, modulo 2**32
#define LEPTON_REG_CLIENT5_HEAD 0x258u  // rw: records taken
#define LEPTON_REG_CLIENT5_DONE 0x25cu  // rw: completions written
#define LEPTON_REG_CLIENT6_BASE 0x260u  // ro: address of the window, low half
#define LEPTON_REG_CLIENT6_BASE_HI 0x264u  // ro: high half
#define LEPTON_REG_CLIENT6_SIZE 0x268u  // ro: size of the window in bytes
#define LEPTON_REG_CLIENT6_CONTROL 0x26cu  // ro: bit 0 enable, bits 5:4 highest priority
#define LEPTON_REG_CLIENT6_LIMIT 0x270u  // ro: longest time limit of a job in cycles; 0: none
#define LEPTON_REG_CLIENT6_TAIL 0x274u  // ro: doorbell: records written so far, modulo 2**32
#define LEPTON_REG_CLIENT6_HEAD 0x278u  // rw: records taken
#define LEPTON_REG_CLIENT6_DONE 0x27cu  // rw: completions written
#define LEPTON_REG_CLIENT7_BASE 0x280u  // ro: address of the window, low half
#define LEPTON_REG_CLIENT7_BASE_HI 0x284u  // ro: high half
#define LEPTON_REG_CLIENT7_SIZE 0x288u  // ro: size of the window in bytes
#define LEPTON_REG_CLIENT7_CONTROL 0x28cu  // ro: bit 0 enable, bits 5:4 highest priority
#define LEPTON_REG_CLIENT7_LIMIT 0x290u  // ro: longest time limit of a job in cycles; 0: none
#define LEPTON_REG_CLIENT7_TAIL 0x294u  // ro: doorbell: records written so far, modulo 2**32
#define LEPTON_REG_CLIENT7_HEAD 0x298u  // rw: records taken
#define LEPTON_REG_CLIENT7_DONE 0x29cu  // rw: completions written
#define LEPTON_REG_CONTROLLER_BASE 0x2a0u  // ro: address of the window, low half
#define LEPTON_REG_CONTROLLER_BASE_HI 0x2a4u  // ro: high half
#define LEPTON_REG_CONTROLLER_SIZE 0x2a8u  // ro: size of the window in bytes

// Registers of the chip, offsets from LEPTON_CHIP_BASE.
#define LEPTON_CHIP_ID 0x000u
#define LEPTON_CHIP_VERSION 0x004u
#define LEPTON_CHIP_GEOMETRY 0x008u
#define LEPTON_CHIP_SCRATCHPAD 0x00cu
#define LEPTON_CHIP_WEIGHTS 0x010u
#define LEPTON_CHIP_ACCUMULATORS 0x014u
#define LEPTON_CHIP_CONTROL 0x020u
#define LEPTON_CHIP_STATUS 0x024u
#define LEPTON_CHIP_IRQ_ENABLE 0x028u
#define LEPTON_CHIP_IRQ_STATUS 0x02cu
#define LEPTON_CHIP_DOORBELL 0x030u
#define LEPTON_CHIP_TIMEOUT 0x034u
#define LEPTON_CHIP_ERROR_CODE 0x040u
#define LEPTON_CHIP_ERROR_ENGINE 0x044u
#define LEPTON_CHIP_ERROR_COMMAND 0x048u
#define LEPTON_CHIP_ERROR_LAYER 0x04cu
#define LEPTON_CHIP_ERROR_ADDRESS 0x050u
#define LEPTON_CHIP_ERROR_ADDRESS_HI 0x054u
#define LEPTON_CHIP_MEMORY_STATUS 0x058u
#define LEPTON_CHIP_LOAD_PROGRAM 0x060u
#define LEPTON_CHIP_LOAD_COUNT 0x064u
#define LEPTON_CHIP_TENSOR_PROGRAM 0x068u
#define LEPTON_CHIP_TENSOR_COUNT 0x06cu
#define LEPTON_CHIP_STORE_PROGRAM 0x070u
#define LEPTON_CHIP_STORE_COUNT 0x074u
#define LEPTON_CHIP_ROWS_PROGRAM 0x078u
#define LEPTON_CHIP_ROWS_COUNT 0x07cu
#define LEPTON_CHIP_PROGRAM_BASE 0x080u
#define LEPTON_CHIP_PROGRAM_BASE_HI 0x084u
#define LEPTON_CHIP_PROGRAM_SIZE 0x088u
#define LEPTON_CHIP_INPUT_BASE 0x090u
#define LEPTON_CHIP_INPUT_BASE_HI 0x094u
#define LEPTON_CHIP_INPUT_SIZE 0x098u
#define LEPTON_CHIP_OUTPUT_BASE 0x0a0u
#define LEPTON_CHIP_OUTPUT_BASE_HI 0x0a4u
#define LEPTON_CHIP_OUTPUT_SIZE 0x0a8u
#define LEPTON_CHIP_SCRATCH_BASE 0x0b0u
#define LEPTON_CHIP_SCRATCH_BASE_HI 0x0b4u
#define LEPTON_CHIP_SCRATCH_SIZE 0x0b8u
#define LEPTON_CHIP_CYCLES 0x100u
#define LEPTON_CHIP_COMPUTE 0x104u
#define LEPTON_CHIP_WAIT_READ 0x108u
#define LEPTON_CHIP_WAIT_WEIGHTS 0x10cu
#define LEPTON_CHIP_WAIT_WRITE 0x110u
#define LEPTON_CHIP_WAIT_SYNC 0x114u
#define LEPTON_CHIP_IDLE 0x118u
#define LEPTON_CHIP_READ_BEATS 0x11cu
#define LEPTON_CHIP_WRITE_BEATS 0x120u
#define LEPTON_DRAIN_LIMIT 100000u
#define LEPTON_SNAPSHOT_BASE 0x2000u
#define LEPTON_SNAPSHOT_BYTES 32u

typedef enum {
    LEPTON_BOOT_STATE_OFF = 0,
    LEPTON_BOOT_STATE_ROM = 1,
    LEPTON_BOOT_STATE_SELF_TEST = 2,
    LEPTON_BOOT_STATE_READY = 3,
    LEPTON_BOOT_STATE_FAILED = 4,
    LEPTON_BOOT_STATE_HALTED = 5,
} lepton_boot_state_t;

typedef enum {
    LEPTON_BOOT_ERROR_NONE = 0,
    LEPTON_BOOT_ERROR_BAD_MAGIC = 1,
    LEPTON_BOOT_ERROR_BAD_SIZE = 2,
    LEPTON_BOOT_ERROR_BAD_CRC = 3,
    LEPTON_BOOT_ERROR_MEMORY = 4,
    LEPTON_BOOT_ERROR_SCRATCHPAD = 5,
    LEPTON_BOOT_ERROR_WEIGHTS = 6,
    LEPTON_BOOT_ERROR_SELF_TEST_JOB = 7,
    LEPTON_BOOT_ERROR_SELF_TEST_RESULT = 8,
    LEPTON_BOOT_ERROR_VERSION = 9,
} lepton_boot_error_t;

typedef enum {
    LEPTON_JOB_STATUS_DONE = 1,
    LEPTON_JOB_STATUS_REFUSED = 2,
    LEPTON_JOB_STATUS_ERROR = 3,
    LEPTON_JOB_STATUS_TIME_LIMIT = 4,
} lepton_job_status_t;

typedef enum {
    LEPTON_REFUSAL_NONE = 0,
    LEPTON_REFUSAL_MAGIC = 1,
    LEPTON_REFUSAL_CRC = 2,
    LEPTON_REFUSAL_SEQUENCE = 3,
    LEPTON_REFUSAL_RESERVED = 4,
    LEPTON_REFUSAL_PRIORITY = 5,
    LEPTON_REFUSAL_REGION = 6,
    LEPTON_REFUSAL_STREAM = 7,
    LEPTON_REFUSAL_SNAPSHOTS = 8,
    LEPTON_REFUSAL_PROGRAM_HASH = 9,
    LEPTON_REFUSAL_MEMORY = 10,
} lepton_refusal_t;

typedef enum {
    LEPTON_EVENT_KIND_BOOT = 1,
    LEPTON_EVENT_KIND_START = 2,
    LEPTON_EVENT_KIND_END = 3,
    LEPTON_EVENT_KIND_REFUSED = 4,
    LEPTON_EVENT_KIND_BAD_DOORBELL = 5,
    LEPTON_EVENT_KIND_CLIENT_RESET = 6,
    LEPTON_EVENT_KIND_TIME_LIMIT = 7,
    LEPTON_EVENT_KIND_ABORT = 8,
    LEPTON_EVENT_KIND_ENGINE_RESET = 9,
    LEPTON_EVENT_KIND_MEMORY_FAULT = 10,
} lepton_event_kind_t;

typedef enum {
    LEPTON_COPY_MODE_READ = 0,
    LEPTON_COPY_MODE_WRITE = 1,
    LEPTON_COPY_MODE_CHECK = 2,
} lepton_copy_mode_t;

typedef enum {
    LEPTON_ERROR_CODE_NONE = 0,
    LEPTON_ERROR_CODE_ILLEGAL_OPCODE = 1,
    LEPTON_ERROR_CODE_ILLEGAL_FIELD = 2,
    LEPTON_ERROR_CODE_LOCAL_BOUNDS = 3,
    LEPTON_ERROR_CODE_LOCAL_ALIGNMENT = 4,
    LEPTON_ERROR_CODE_ACCUMULATOR_BOUNDS = 5,
    LEPTON_ERROR_CODE_MEMORY_BOUNDS = 6,
    LEPTON_ERROR_CODE_AXI_SLVERR = 7,
    LEPTON_ERROR_CODE_AXI_DECERR = 8,
    LEPTON_ERROR_CODE_AXI_TIMEOUT = 9,
    LEPTON_ERROR_CODE_DEADLOCK = 10,
    LEPTON_ERROR_CODE_SEMAPHORE_OVERFLOW = 11,
    LEPTON_ERROR_CODE_ABORTED = 12,
    LEPTON_ERROR_CODE_AXI_PROTOCOL = 13,
} lepton_error_code_t;

typedef enum {
    LEPTON_STATE_IDLE = 0,
    LEPTON_STATE_RUNNING = 1,
    LEPTON_STATE_DONE = 2,
    LEPTON_STATE_ERROR = 3,
} lepton_state_t;

#define LEPTON_JOB_FLAG_VERIFY 0x1u
#define LEPTON_JOB_FLAG_SNAPSHOTS 0x2u
#define LEPTON_EVENT_DOORBELL 0x1u
#define LEPTON_EVENT_JOB 0x2u
#define LEPTON_EVENT_LIMIT 0x4u
#define LEPTON_EVENT_TIMER 0x8u
#define LEPTON_COPY_STATUS_BUSY 0x1u
#define LEPTON_COPY_STATUS_BOUNDS 0x2u
#define LEPTON_COPY_STATUS_FAILED 0x4u
#define LEPTON_COPY_STATUS_STUCK 0x8u
#define LEPTON_LAUNCH_STATUS_STAGED 0x1u
#define LEPTON_LAUNCH_STATUS_RUNNING 0x2u
#define LEPTON_LAUNCH_STATUS_RESULT 0x4u
#define LEPTON_LAUNCH_STATUS_HELD 0x8u
#define LEPTON_LAUNCH_STATUS_REFUSED 0x10u
#define LEPTON_LAUNCH_STATUS_EXPIRED 0x20u
#define LEPTON_LAUNCH_STAGE 0x1u
#define LEPTON_LAUNCH_CANCEL 0x2u
#define LEPTON_LAUNCH_ACKNOWLEDGE 0x4u
#define LEPTON_BIST_STATUS_BUSY 0x1u
#define LEPTON_BIST_STATUS_SCRATCHPAD 0x2u
#define LEPTON_BIST_STATUS_WEIGHTS 0x4u
#define LEPTON_CONTROL_RESET 0x1u
#define LEPTON_CONTROL_ABORT 0x2u
#define LEPTON_CONTROL_MEMORY_RESET 0x4u
#define LEPTON_INTERRUPT_DONE 0x1u
#define LEPTON_INTERRUPT_ERROR 0x2u
#define LEPTON_MEMORY_STATUS_READS_OPEN 0x1u
#define LEPTON_MEMORY_STATUS_WRITES_OPEN 0x2u
#define LEPTON_MEMORY_STATUS_READ_TIMED_OUT 0x4u
#define LEPTON_MEMORY_STATUS_WRITE_TIMED_OUT 0x8u
#define LEPTON_MEMORY_STATUS_READ_BROKEN 0x10u
#define LEPTON_MEMORY_STATUS_WRITE_BROKEN 0x20u

// What a client asks for: one job. Offsets are in its window.
typedef struct {
    uint32_t magic;
    uint32_t sequence;
    uint8_t flags;
    uint8_t priority;
    uint16_t reserved0;
    uint32_t time_limit;
    uint32_t timeout;
    uint32_t program_hash;
    uint32_t load_program;
    uint32_t load_count;
    uint32_t tensor_program;
    uint32_t tensor_count;
    uint32_t store_program;
    uint32_t store_count;
    uint32_t rows_program;
    uint32_t rows_count;
    uint32_t program_offset;
    uint32_t program_size;
    uint32_t input_offset;
    uint32_t input_size;
    uint32_t output_offset;
    uint32_t output_size;
    uint32_t scratch_offset;
    uint32_t scratch_size;
    uint32_t snapshot_offset;
    uint32_t snapshot_count;
    uint32_t tag[2];
    uint32_t reserved1[5];
    uint32_t crc;
} lepton_job_record_t;
_Static_assert(sizeof(lepton_job_record_t) == 128, "JobRecord must be 128 bytes");

// What became of a job.
typedef struct {
    uint32_t sequence;
    uint8_t status;
    uint8_t reason;
    uint8_t error_code;
    uint8_t error_engine;
    uint32_t error_command;
    uint32_t error_layer;
    uint32_t error_address[2];
    uint32_t tag[2];
    uint32_t start[2];
    uint32_t accepted[2];
    uint32_t cycles;
    uint32_t compute;
    uint32_t wait_read;
    uint32_t wait_weights;
    uint32_t wait_write;
    uint32_t wait_sync;
    uint32_t idle;
    uint32_t read_beats;
    uint32_t write_beats;
    uint32_t reserved0[10];
    uint32_t program_hash;
} lepton_completion_record_t;
_Static_assert(sizeof(lepton_completion_record_t) == 128, "CompletionRecord must be 128 bytes");

// An entry of the event log; the log is a ring of LOG_EVENTS.
typedef struct {
    uint32_t sequence;
    uint8_t kind;
    uint8_t client;
    uint16_t reserved0;
    uint32_t time[2];
    uint32_t arg0;
    uint32_t arg1;
    uint32_t arg2;
    uint32_t arg3;
} lepton_event_record_t;
_Static_assert(sizeof(lepton_event_record_t) == 32, "EventRecord must be 32 bytes");

// Before the firmware's code, at IMAGE_OFFSET in the controller's window.
typedef struct {
    uint32_t magic;
    uint32_t version;
    uint32_t architecture;
    uint32_t code_bytes;
    uint32_t code_crc;
    uint32_t image_bytes;
    uint32_t test_job;
    uint32_t test_output;
    uint32_t test_bytes;
    uint32_t test_crc;
    uint32_t reserved0[6];
    uint32_t signature[16];
} lepton_image_header_t;
_Static_assert(sizeof(lepton_image_header_t) == 128, "ImageHeader must be 128 bytes");

#endif
