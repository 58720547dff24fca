# Not stencils: for the test that the build refuses it.
	.section .text.stencil_add_000,"ax",@progbits
	.globl stencil_add_000
	.type stencil_add_000,@function
stencil_add_000:
	mov $way_next, %eax
	jmp way_next
	.size stencil_add_000, .-stencil_add_000
