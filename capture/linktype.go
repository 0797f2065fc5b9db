// SPDX-License-Identifier: Apache-2.0

package capture

import "strconv"

// linkKind numbers the ways in which link layers are decoded.
type linkKind uint8

const (
	linkUnknown linkKind = iota
	linkEthernet
	linkRaw
	linkNull
	linkPPP
	linkPPPD
	linkPPPDirection
	linkPPPBSDOS
	linkPPPoE
	linkCHDLC
	linkCHDLCDirection
	linkFrameRelay
	linkFrameRelayDirection
	linkMultilinkFrameRelay
	linkSLL
	linkSLL2
	linkFDDI
	linkTokenRing
	linkARCnet
	linkARCnetLinux
	linkATM
	linkSunATM
	linkIEEE1394
	linkFibreChannel
	linkInfiniBand
	linkMPLS
	linkNFLOG
	linkPFLOG
	linkENC
	linkIPNet
	linkSLIP
	linkSLIPBSDOS
	linkDSA
	linkBroadcomTag
	linkEDSA
	linkBroadcomPrepended
	linkJuniperEther
	linkWLAN
	linkRadiotap
	linkPrism
	linkAVS
	linkPPI
	linkPKTAP
)

// linkType is a number of a capture file, its name, and how it is decoded.
type linkType struct {
	number uint32
	name   string
	kind   linkKind
}

// linkTypes lists the registered link types, also those that are not decoded: people
// who have such a capture should read its name. The names are those of
// https://www.tcpdump.org/linktypes.html without LINKTYPE_. Numbers that systems
// used for themselves before there was a register have the name of what they mean.
func linkTypes() []linkType {
	return []linkType{
		{0, "NULL", linkNull},
		{1, "ETHERNET", linkEthernet},
		{2, "EXP_ETHERNET", linkUnknown},
		{3, "AX25", linkUnknown},
		{4, "PRONET", linkUnknown},
		{5, "CHAOS", linkUnknown},
		{6, "IEEE802_5", linkTokenRing},
		{7, "ARCNET_BSD", linkARCnet},
		{8, "SLIP", linkSLIP},
		{9, "PPP", linkPPP},
		{10, "FDDI", linkFDDI},
		{11, "ATM_RFC1483", linkATM},
		{12, "RAW", linkRaw},
		{14, "RAW", linkRaw},
		{15, "SLIP_BSDOS", linkSLIPBSDOS},
		{16, "PPP_BSDOS", linkPPPBSDOS},
		{32, "REDBACK_SMARTEDGE", linkUnknown},
		{50, "PPP_HDLC", linkPPP},
		{51, "PPP_ETHER", linkPPPoE},
		{99, "SYMANTEC_FIREWALL", linkUnknown},
		{100, "ATM_RFC1483", linkATM},
		{101, "RAW", linkRaw},
		{102, "SLIP_BSDOS", linkSLIPBSDOS},
		{103, "PPP_BSDOS", linkPPPBSDOS},
		{104, "C_HDLC", linkCHDLC},
		{105, "IEEE802_11", linkWLAN},
		{106, "ATM_CLIP", linkATM},
		{107, "FRELAY", linkFrameRelay},
		{108, "LOOP", linkNull},
		{109, "ENC", linkENC},
		{110, "LANE8023", linkUnknown},
		{111, "HIPPI", linkUnknown},
		{112, "NETBSD_HDLC", linkUnknown},
		{113, "LINUX_SLL", linkSLL},
		{114, "LTALK", linkUnknown},
		{115, "ECONET", linkUnknown},
		{116, "IPFILTER", linkUnknown},
		{117, "PFLOG", linkPFLOG},
		{118, "CISCO_IOS", linkUnknown},
		{119, "IEEE802_11_PRISM", linkPrism},
		{120, "IEEE802_11_AIRONET", linkUnknown},
		{121, "SIEMENS_HIPATH_HDLC", linkUnknown},
		{122, "IP_OVER_FC", linkFibreChannel},
		{123, "SUNATM", linkSunATM},
		{124, "RIO", linkUnknown},
		{125, "PCI_EXP", linkUnknown},
		{126, "AURORA", linkUnknown},
		{127, "IEEE802_11_RADIOTAP", linkRadiotap},
		{128, "TZSP", linkUnknown},
		{129, "ARCNET_LINUX", linkARCnetLinux},
		{130, "JUNIPER_MLPPP", linkUnknown},
		{131, "JUNIPER_MLFR", linkUnknown},
		{132, "JUNIPER_ES", linkUnknown},
		{133, "JUNIPER_GGSN", linkUnknown},
		{134, "JUNIPER_MFR", linkUnknown},
		{135, "JUNIPER_ATM2", linkUnknown},
		{136, "JUNIPER_SERVICES", linkUnknown},
		{137, "JUNIPER_ATM1", linkUnknown},
		{138, "APPLE_IP_OVER_IEEE1394", linkIEEE1394},
		{139, "MTP2_WITH_PHDR", linkUnknown},
		{140, "MTP2", linkUnknown},
		{141, "MTP3", linkUnknown},
		{142, "SCCP", linkUnknown},
		{143, "DOCSIS", linkUnknown},
		{144, "LINUX_IRDA", linkUnknown},
		{145, "IBM_SP", linkUnknown},
		{146, "IBM_SN", linkUnknown},
		{147, "USER0", linkUnknown},
		{148, "USER1", linkUnknown},
		{149, "USER2", linkUnknown},
		{150, "USER3", linkUnknown},
		{151, "USER4", linkUnknown},
		{152, "USER5", linkUnknown},
		{153, "USER6", linkUnknown},
		{154, "USER7", linkUnknown},
		{155, "USER8", linkUnknown},
		{156, "USER9", linkUnknown},
		{157, "USER10", linkUnknown},
		{158, "USER11", linkUnknown},
		{159, "USER12", linkUnknown},
		{160, "USER13", linkUnknown},
		{161, "USER14", linkUnknown},
		{162, "USER15", linkUnknown},
		{163, "IEEE802_11_AVS", linkAVS},
		{164, "JUNIPER_MONITOR", linkUnknown},
		{165, "BACNET_MS_TP", linkUnknown},
		{166, "PPP_PPPD", linkPPPD},
		{167, "JUNIPER_PPPOE", linkUnknown},
		{168, "JUNIPER_PPPOE_ATM", linkUnknown},
		{169, "GPRS_LLC", linkUnknown},
		{170, "GPF_T", linkUnknown},
		{171, "GPF_F", linkUnknown},
		{172, "GCOM_T1E1", linkUnknown},
		{173, "GCOM_SERIAL", linkUnknown},
		{174, "JUNIPER_PIC_PEER", linkUnknown},
		{175, "ERF_ETH", linkUnknown},
		{176, "ERF_POS", linkUnknown},
		{177, "LINUX_LAPD", linkUnknown},
		{178, "JUNIPER_ETHER", linkJuniperEther},
		{179, "JUNIPER_PPP", linkUnknown},
		{180, "JUNIPER_FRELAY", linkUnknown},
		{181, "JUNIPER_CHDLC", linkUnknown},
		{182, "MFR", linkMultilinkFrameRelay},
		{183, "JUNIPER_VP", linkUnknown},
		{184, "A429", linkUnknown},
		{185, "A653_ICM", linkUnknown},
		{186, "USB_FREEBSD", linkUnknown},
		{187, "BLUETOOTH_HCI_H4", linkUnknown},
		{188, "IEEE802_16_MAC_CPS", linkUnknown},
		{189, "USB_LINUX", linkUnknown},
		{190, "CAN20B", linkUnknown},
		{191, "IEEE802_15_4_LINUX", linkUnknown},
		{192, "PPI", linkPPI},
		{193, "IEEE802_16_MAC_CPS_RADIO", linkUnknown},
		{194, "JUNIPER_ISM", linkUnknown},
		{195, "IEEE802_15_4_WITHFCS", linkUnknown},
		{196, "SITA", linkUnknown},
		{197, "ERF", linkUnknown},
		{198, "RAIF1", linkUnknown},
		{199, "IPMB_KONTRON", linkUnknown},
		{200, "JUNIPER_ST", linkUnknown},
		{201, "BLUETOOTH_HCI_H4_WITH_PHDR", linkUnknown},
		{202, "AX25_KISS", linkUnknown},
		{203, "LAPD", linkUnknown},
		{204, "PPP_WITH_DIR", linkPPPDirection},
		{205, "C_HDLC_WITH_DIR", linkCHDLCDirection},
		{206, "FRELAY_WITH_DIR", linkFrameRelayDirection},
		{207, "LAPB_WITH_DIR", linkUnknown},
		{209, "IPMB_LINUX", linkUnknown},
		{210, "FLEXRAY", linkUnknown},
		{211, "MOST", linkUnknown},
		{212, "LIN", linkUnknown},
		{213, "X2E_SERIAL", linkUnknown},
		{214, "X2E_XORAYA", linkUnknown},
		{215, "IEEE802_15_4_NONASK_PHY", linkUnknown},
		{216, "LINUX_EVDEV", linkUnknown},
		{217, "GSMTAP_UM", linkUnknown},
		{218, "GSMTAP_ABIS", linkUnknown},
		{219, "MPLS", linkMPLS},
		{220, "USB_LINUX_MMAPPED", linkUnknown},
		{221, "DECT", linkUnknown},
		{222, "AOS", linkUnknown},
		{223, "WIHART", linkUnknown},
		{224, "FC_2", linkUnknown},
		{225, "FC_2_WITH_FRAME_DELIMS", linkUnknown},
		{226, "IPNET", linkIPNet},
		{227, "CAN_SOCKETCAN", linkUnknown},
		{228, "IPV4", linkRaw},
		{229, "IPV6", linkRaw},
		{230, "IEEE802_15_4_NOFCS", linkUnknown},
		{231, "DBUS", linkUnknown},
		{232, "JUNIPER_VS", linkUnknown},
		{233, "JUNIPER_SRX_E2E", linkUnknown},
		{234, "JUNIPER_FIBRECHANNEL", linkUnknown},
		{235, "DVB_CI", linkUnknown},
		{236, "MUX27010", linkUnknown},
		{237, "STANAG_5066_D_PDU", linkUnknown},
		{238, "JUNIPER_ATM_CEMIC", linkUnknown},
		{239, "NFLOG", linkNFLOG},
		{240, "NETANALYZER", linkUnknown},
		{241, "NETANALYZER_TRANSPARENT", linkUnknown},
		{242, "IPOIB", linkInfiniBand},
		{243, "MPEG_2_TS", linkUnknown},
		{244, "NG40", linkUnknown},
		{245, "NFC_LLCP", linkUnknown},
		{246, "PFSYNC", linkUnknown},
		{247, "INFINIBAND", linkUnknown},
		{248, "SCTP", linkUnknown},
		{249, "USBPCAP", linkUnknown},
		{250, "RTAC_SERIAL", linkUnknown},
		{251, "BLUETOOTH_LE_LL", linkUnknown},
		{252, "WIRESHARK_UPPER_PDU", linkUnknown},
		{253, "NETLINK", linkUnknown},
		{254, "BLUETOOTH_LINUX_MONITOR", linkUnknown},
		{255, "BLUETOOTH_BREDR_BB", linkUnknown},
		{256, "BLUETOOTH_LE_LL_WITH_PHDR", linkUnknown},
		{257, "PROFIBUS_DL", linkUnknown},
		{258, "PKTAP", linkPKTAP},
		{259, "EPON", linkUnknown},
		{260, "IPMI_HPM_2", linkUnknown},
		{261, "ZWAVE_R1_R2", linkUnknown},
		{262, "ZWAVE_R3", linkUnknown},
		{263, "WATTSTOPPER_DLM", linkUnknown},
		{264, "ISO_14443", linkUnknown},
		{265, "RDS", linkUnknown},
		{266, "USB_DARWIN", linkUnknown},
		{267, "OPENFLOW", linkUnknown},
		{268, "SDLC", linkUnknown},
		{269, "TI_LLN_SNIFFER", linkUnknown},
		{270, "LORATAP", linkUnknown},
		{271, "VSOCK", linkUnknown},
		{272, "NORDIC_BLE", linkUnknown},
		{273, "DOCSIS31_XRA31", linkUnknown},
		{274, "ETHERNET_MPACKET", linkUnknown},
		{275, "DISPLAYPORT_AUX", linkUnknown},
		{276, "LINUX_SLL2", linkSLL2},
		{277, "SERCOS_MONITOR", linkUnknown},
		{278, "OPENVIZSLA", linkUnknown},
		{279, "EBHSCR", linkUnknown},
		{280, "VPP_DISPATCH", linkUnknown},
		{281, "DSA_TAG_BRCM", linkBroadcomTag},
		{282, "DSA_TAG_BRCM_PREPEND", linkBroadcomPrepended},
		{283, "IEEE802_15_4_TAP", linkUnknown},
		{284, "DSA_TAG_DSA", linkDSA},
		{285, "DSA_TAG_EDSA", linkEDSA},
		{286, "ELEE", linkUnknown},
		{287, "Z_WAVE_SERIAL", linkUnknown},
		{288, "USB_2_0", linkUnknown},
		{289, "ATSC_ALP", linkUnknown},
		{290, "ETW", linkUnknown},
		{291, "NETANALYZER_NG", linkUnknown},
		{292, "ZBOSS_NCP", linkUnknown},
		{293, "USB_2_0_LOW_SPEED", linkUnknown},
		{294, "USB_2_0_FULL_SPEED", linkUnknown},
		{295, "USB_2_0_HIGH_SPEED", linkUnknown},
		{296, "AUERSWALD_LOG", linkUnknown},
		{297, "ZWAVE_TAP", linkUnknown},
		{298, "SILABS_DEBUG_CHANNEL", linkUnknown},
		{299, "FIRA_UCI", linkUnknown},
		{300, "MDB", linkUnknown},
		{301, "DECT_NR", linkUnknown},
	}
}

// linkKinds returns how frames of each link type are decoded.
func linkKinds() map[uint32]linkKind {
	kinds := map[uint32]linkKind{}
	for _, t := range linkTypes() {
		kinds[t.number] = t.kind
	}
	return kinds
}

// linkName returns the name of a link type with its number.
func linkName(link uint32) string {
	number := strconv.FormatUint(uint64(link), 10)
	for _, t := range linkTypes() {
		if t.number == link {
			return t.name + " (" + number + ")"
		}
	}
	return "unregistered (" + number + ")"
}
