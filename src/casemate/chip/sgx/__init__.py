"""SGX in this chip: ECREATE to EINIT, EREPORT, EGETKEY, the quoting and provisioning enclaves (SDM volume 3D)."""
