/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_GDB_STUB_H
#define PITH_GDB_STUB_H

struct vcpu;
struct vm;

void gdb_listen(struct vm *vm, const char *where);
void gdb_start(void);
void gdb_stop(void);
void gdb_exit_debug(struct vcpu *vcpu);
void gdb_crashed(struct vcpu *vcpu);

#endif
