/* What passes over a region's function ask of values all the time. */
#ifndef TUFF_LLVM_OPCODE_H
#define TUFF_LLVM_OPCODE_H

#include <llvm-c/Core.h>

/* That of an instruction; else one that nobody asks for. */
static inline LLVMOpcode opcode_of(LLVMValueRef value)
{
    return LLVMIsAInstruction(value) ? LLVMGetInstructionOpcode(value) : LLVMUnreachable;
}

#endif
