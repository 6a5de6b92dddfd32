// SPDX-License-Identifier: GPL-2.0
/* ring - runs in the guest: rings at port 510h three times, and asks how often that was. */
#include <stdio.h>
#include <sys/io.h>

#define DOORBELL_PORT 0x510

int main(void)
{
	int i;

	if (ioperm(DOORBELL_PORT, 1, 1)) {
		perror("ioperm");
		return 1;
	}
	for (i = 0; i < 3; i++)
		outb(0, DOORBELL_PORT);
	printf("rung: %u\n", inb(DOORBELL_PORT));
	return 0;
}
