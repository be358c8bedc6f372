"""How many clients and records there are, how large the memories are, and where the processor finds them."""

CLIENTS = 8
CONTROLLER_WINDOW = CLIENTS  # the window after those of the clients
RING_ENTRIES = 16  # jobs of a client in flight; sequence numbers name slots modulo this, so it is a power of two
PRIORITIES = 4  # two bits of CLIENT<i>_CONTROL
PATIENCE = 8  # a client that was passed over this often goes before every priority

# Of the code memory the firmware takes half (8.3 KB); its build fails where it does not fit one of them.
ROM_BYTES = 4096
CODE_BYTES = 16384
DATA_BYTES = 8192

# The processor's address map: the upper four bits select, so that hardware decodes no more than those.
ROM_BASE = 0x0000_0000
CODE_BASE = 0x1000_0000
DATA_BASE = 0x2000_0000
PERIPHERAL_BASE = 0x3000_0000
CHIP_BASE = 0x4000_0000  # the chip's registers, as the host sees them

HOST_BASE = 0x1000  # where the host sees the controller's registers: behind the chip's own, before its snapshots

JOB_MAGIC = 0x424A_4F4C  # "LOJB"
IMAGE_MAGIC = 0x4D49_4F4C  # "LOIM"
JOB_BYTES = 128
COMPLETION_BYTES = 128
COMPLETION_RING = RING_ENTRIES * JOB_BYTES
RINGS_BYTES = COMPLETION_RING + RING_ENTRIES * COMPLETION_BYTES
LOG_EVENTS = 128
IMAGE_OFFSET = LOG_EVENTS * 32  # behind the log, whose records (`EventRecord`) have 32 bytes
