/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_INSPECT_H
#define PITH_INSPECT_H

/** inspect_main - pith inspect: shows what is inside a VM that runs. Return: the program's exit status. */
int inspect_main(int argc, char **argv);

#endif
