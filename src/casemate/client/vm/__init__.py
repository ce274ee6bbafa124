"""Confidential VMs from the relying party's side: questions, REST, and both Python clients."""
