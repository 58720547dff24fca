# Not stencils: for the test that the build refuses it.
	.section .text.both,"ax",@progbits
	.type stencil_add_000,@function
	nop
stencil_add_000:
	jmp way_next
	.size stencil_add_000, .-stencil_add_000
