# Where the processor begins: a stack at the end of data memory, then C. There are no variables but those on it.
    .section .text.start, "ax"
    .global _start
_start:
    li sp, STACK_TOP
    j rom_main
