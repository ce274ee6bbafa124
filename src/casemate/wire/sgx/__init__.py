"""SGX's structures: attributes, REPORT, KEYREQUEST, SIGSTRUCT, the SGXS stream, and quotes.

Section numbers are those of the Intel 64 and IA-32 Architectures Software Developer's Manual (SDM), volume 3D, in the
editions where chapter 38 is "Enclave Access Control and Data Structures".
"""
