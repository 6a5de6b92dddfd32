// SPDX-License-Identifier: GPL-2.0
/*
 * What the guest cannot find out by itself: the PCI root bridge with its windows and interrupt lines, the devices at
 * fixed ports, and how to power off.
 */
DefinitionBlock ("", "DSDT", 2, "PITH", "PITHDSDT", 1)
{
	// Sleep type 5, power.c: SLP_TYP_S5
	Name (\_S5, Package () { 5, 5, 0, 0 })

	Scope (\_SB)
	{
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A03"))
			Name (_UID, 0)
			Name (_BBN, 0)

			Name (_CRS, ResourceTemplate ()
			{
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0, 0, 1)
				IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0, 0x1000, 0xFFFF, 0, 0xF000)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
					0, 0xC0000000, 0xFEBFFFFF, 0, 0x3EC00000)
			})

			// INTA# of slot n is I/O APIC input 16 + n % 8, irq.h: IRQ_PCI_BASE, IRQ_PCI_COUNT
			Method (_PRT, 0, Serialized)
			{
				Local0 = Package (32) {}
				Local1 = 0
				While (Local1 < 32)
				{
					Local2 = Package (4) { 0, 0, 0, 0 }
					Local2[0] = (Local1 << 16) | 0xFFFF
					Local2[3] = 16 + (Local1 & 7)
					Local0[Local1] = Local2
					Local1++
				}
				Return (Local0)
			}
		}

		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x03F8, 0x03F8, 1, 8)
				IRQNoFlags () { 4 }
			})
		}

		Device (RTC)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0070, 0x0070, 1, 2)
			})
		}
	}
}
