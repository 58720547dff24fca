/* RISC-V ISA extensions as a set, and the names the device tree uses. */
#ifndef TUFF_ENGINE_ISA_RISCV_ISA_H
#define TUFF_ENGINE_ISA_RISCV_ISA_H

/* X(id, device-tree name). Canonical order (ISA manual, "ISA Extension Naming Conventions").
 *
 * Some names bring no instruction of their own: Zkn and Zks stand for others, Zihintntl and Zihintpause are hints, and
 * these say what the memory system does in any case (RVA22 profile): Zic64b, blocks of caches are 64 bytes and aligned;
 * Ziccrse, an LR/SC loop in RAM comes to its end; Za64rs, a reservation covers an aligned block of 64 bytes
 * (mem/reservation.h); Svvptc, a PTE that becomes valid is seen without a fence: only valid ones are cached. Zkt is not
 * among them: S-boxes are tables where the host has no instruction, and compilers may make branches of selects. Ztso
 * changes no instruction either: the order is that of the x86 host's, and the compiling tier, which otherwise moves
 * accesses to RAM past each other, keeps it. */
#define ISA_EXTENSIONS(X)         \
    X(I, "i")                     \
    X(M, "m")                     \
    X(A, "a")                     \
    X(F, "f")                     \
    X(D, "d")                     \
    X(C, "c")                     \
    X(ZIC64B, "zic64b")           \
    X(ZICBOM, "zicbom")           \
    X(ZICBOP, "zicbop")           \
    X(ZICBOZ, "zicboz")           \
    X(ZICCRSE, "ziccrse")         \
    X(ZICFILP, "zicfilp")         \
    X(ZICFISS, "zicfiss")         \
    X(ZICNTR, "zicntr")           \
    X(ZICOND, "zicond")           \
    X(ZICSR, "zicsr")             \
    X(ZIFENCEI, "zifencei")       \
    X(ZIHINTNTL, "zihintntl")     \
    X(ZIHINTPAUSE, "zihintpause") \
    X(ZIHPM, "zihpm")             \
    X(ZIMOP, "zimop")             \
    X(ZMMUL, "zmmul")             \
    X(ZA64RS, "za64rs")           \
    X(ZABHA, "zabha")             \
    X(ZACAS, "zacas")             \
    X(ZAWRS, "zawrs")             \
    X(ZFA, "zfa")                 \
    X(ZFBFMIN, "zfbfmin")         \
    X(ZFH, "zfh")                 \
    X(ZFHMIN, "zfhmin")           \
    X(ZCB, "zcb")                 \
    X(ZCMOP, "zcmop")             \
    X(ZBA, "zba")                 \
    X(ZBB, "zbb")                 \
    X(ZBC, "zbc")                 \
    X(ZBKB, "zbkb")               \
    X(ZBKC, "zbkc")               \
    X(ZBKX, "zbkx")               \
    X(ZBS, "zbs")                 \
    X(ZKN, "zkn")                 \
    X(ZKND, "zknd")               \
    X(ZKNE, "zkne")               \
    X(ZKNH, "zknh")               \
    X(ZKR, "zkr")                 \
    X(ZKS, "zks")                 \
    X(ZKSED, "zksed")             \
    X(ZKSH, "zksh")               \
    X(ZTSO, "ztso")               \
    X(SDTRIG, "sdtrig")           \
    X(SMDBLTRP, "smdbltrp")       \
    X(SMEPMP, "smepmp")           \
    X(SMMPM, "smmpm")             \
    X(SMNPM, "smnpm")             \
    X(SMRNMI, "smrnmi")           \
    X(SMSTATEEN, "smstateen")     \
    X(SSCOFPMF, "sscofpmf")       \
    X(SSDBLTRP, "ssdbltrp")       \
    X(SSNPM, "ssnpm")             \
    X(SSSTATEEN, "ssstateen")     \
    X(SSTC, "sstc")               \
    X(SV48, "sv48")               \
    X(SV57, "sv57")               \
    X(SVADU, "svadu")             \
    X(SVINVAL, "svinval")         \
    X(SVNAPOT, "svnapot")         \
    X(SVPBMT, "svpbmt")           \
    X(SVVPTC, "svvptc")

/* X(id, members): extensions that have instructions in common. A row of the table that any one of them brings has
 * ISA_ANY(id) where others have ISA_EXT(). */
#define ISA_GROUPS(X)                         \
    X(M_ZMMUL, ISA_EXT(M) | ISA_EXT(ZMMUL))   \
    X(ZBB_ZBKB, ISA_EXT(ZBB) | ISA_EXT(ZBKB)) \
    X(ZBC_ZBKC, ISA_EXT(ZBC) | ISA_EXT(ZBKC)) \
    X(ZKND_ZKNE, ISA_EXT(ZKND) | ISA_EXT(ZKNE))

/* Bits of extensions, then those of groups. */
enum isa_extension {
#define X(id, name) ISA_EXT_BIT_##id,
    ISA_EXTENSIONS(X)
#undef X
        ISA_EXT_COUNT,
    ISA_GROUPS_BEFORE = ISA_EXT_COUNT - 1,
#define X(id, members) ISA_ANY_BIT_##id,
    ISA_GROUPS(X)
#undef X
        ISA_BIT_COUNT,
};

/* A set of extensions: ISA_EXT() bits, in rows of the table ISA_ANY() bits as well. All of C's operators on integers
 * are at hand; printf() and conversions to a narrower type are not. */
__extension__ typedef unsigned __int128 isa_set;
_Static_assert(ISA_BIT_COUNT <= 128, "a set of extensions is two words");

#define ISA_BIT(number) ((isa_set)1 << (number))
#define ISA_EXT(id) ISA_BIT(ISA_EXT_BIT_##id)
#define ISA_ANY(id) ISA_BIT(ISA_ANY_BIT_##id)

/* Size of a cache block, which the CMO instructions take and the device tree tells. */
enum { ISA_BLOCK_BYTES = 64 };

/* Everything the engine implements. */
#define ISA_ALL (ISA_BIT(ISA_EXT_COUNT) - 1)
/* Out of reset these hold back traps or interrupts until M-mode software says that it is ready, so that software which
 * does not know them does not run: they have to be asked for by name. */
#define ISA_WANTS_FIRMWARE (ISA_EXT(SMDBLTRP) | ISA_EXT(SMRNMI))
/* Everything that any software runs with, but for the memory order, which is another one rather than more: whoever
 * wants all extensions does not want other compiled code. */
#define ISA_COMPATIBLE (ISA_ALL & ~(ISA_WANTS_FIRMWARE | ISA_EXT(ZTSO)))
/* The default of a machine: what stock software looks for. A guest that finds four or five levels of page tables uses
 * them, and pays for each walk and for each process; who wants more than the 256 GiB of a process under Sv39 asks for
 * it. A kernel that is told of Zkr uses it, and M-mode firmware that does not know of it (OpenSBI 1.1) leaves it
 * closed. */
#define ISA_DEFAULT                                                                                      \
    (ISA_COMPATIBLE & ~(ISA_EXT(ZKR) | ISA_EXT(SV48) | ISA_EXT(SV57) | ISA_EXT(SMMPM) | ISA_EXT(SMNPM) | \
                        ISA_EXT(SSDBLTRP) | ISA_EXT(ZICFILP) | ISA_EXT(ZICFISS) | ISA_EXT(SSNPM) | ISA_EXT(SDTRIG)))
/* What the device tree tells by mmu-type instead of by name. */
#define ISA_TOLD_BY_MMU_TYPE (ISA_EXT(SV48) | ISA_EXT(SV57))

/* `isa` and the groups that one of its extensions is in: what a row's bits are compared with. */
static inline isa_set isa_with_groups(isa_set isa)
{
#define X(id, members) isa |= isa & (members) ? ISA_ANY(id) : 0;
    ISA_GROUPS(X)
#undef X
    return isa;
}

#endif
