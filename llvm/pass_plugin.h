/* Plugins of LLVM's new pass manager, which --passes may then name: --pass-plugin.
 *
 * LLVM's C interface can run a list of passes but not load what defines some of them, so behind this header is the one
 * file in C++. The other way, a child process of opt-19 for each region, would cost some ten milliseconds each, as much
 * as the compile itself, would run the passes on a copy of the module that has to be read back, and would make opt a
 * thing that users need.
 */
#ifndef TUFF_LLVM_PASS_PLUGIN_H
#define TUFF_LLVM_PASS_PLUGIN_H

#include "base/error.h"

#include <llvm-c/TargetMachine.h>
#include <llvm-c/Types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pass_plugins;

/* Loads shared objects; `files` are paths separated by commas. They stay in the process for good, and their passes run
 * on each compiling thread. Returns 0, -ENOMEM, or -EINVAL with a line in `err`: missing, damaged, no plugin, or made
 * for another LLVM, which would otherwise be found out by a crash. */
int pass_plugins_load(const char *files, struct pass_plugins **out, struct error *err) TUFF_MUST_CHECK;
void pass_plugins_free(struct pass_plugins *plugins);

/* What LLVMRunPasses() does, with the plugins' passes known and their callbacks in the standard pipelines. Returns
 * NULL, or why not (a static string): the list is refused, or what the passes left is no valid module. */
const char *pass_plugins_run(const struct pass_plugins *plugins, LLVMModuleRef module, const char *passes,
                             LLVMTargetMachineRef machine) TUFF_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
