/** Who a caller is to an access list: the name that the manifest has for its key, and the key itself. */

/** All that a caller goes by; nothing for one who has not signed. */
export function idsOf(caller) {
  if (caller === null) return [];
  return caller.name === null ? [caller.key] : [caller.name, caller.key];
}

/** Whether a caller is on the list. Names have no colon, and keys begin with "ed25519:", so neither passes for the other. */
export function isReader(caller, readers) {
  return idsOf(caller).some((id) => readers.includes(id));
}
