// What the core's own instruction tests expect of their surroundings, in our memory map: the test's number and
// outcome go to the first word of data memory.
#define RVTEST_RV32U
#define TESTNUM x28
#define RVTEST_CODE_BEGIN .section .text.start, "ax"; .global _start; _start:
#define RVTEST_PASS li a0, 0x20001ffc; li a1, 0x600d; sw a1, 0(a0); 1: j 1b;
#define RVTEST_FAIL li a0, 0x20001ffc; slli a1, TESTNUM, 16; ori a1, a1, 0xbd; sw a1, 0(a0); 1: j 1b;
#define RVTEST_CODE_END
#define RVTEST_DATA_BEGIN .balign 4;
#define RVTEST_DATA_END
