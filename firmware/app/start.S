# Entered from the ROM: a fresh stack, cleared variables, then C.
    .section .text.start, "ax"
    .global _start
_start:
    li sp, STACK_TOP
    la t0, _bss_start
    la t1, _bss_end
1:  bgeu t0, t1, 2f
    sw zero, 0(t0)
    addi t0, t0, 4
    j 1b
2:  j firmware_main
