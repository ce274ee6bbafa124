// Loads the program: makes a blob URL of each module, links them, imports the last one, and finds its functions.
//
// Nothing is read from a disk: sources come in the LOAD frame. Modules come in such an order that each one follows all
// that it imports, so the URLs that replace its import specifiers are known when its text is put together.

async function load({ call, body }) {
  const urls = [];
  listening = true;
  try {
    const { head, rest } = opened(body);
    outputLimit = head.outputLimit;
    ocallLimit = head.ocallLimit;
    valueLimit = head.valueLimit;
    keyLimit = head.keyLimit;
    sealedLimit = head.sealedLimit;
    listLimit = head.listLimit;
    debug = head.debug;
    declare(head.errors);
    grant(head.permissions);
    tellsPlaces = true; // until the first call nothing but measured code has run: its words hold no secret
    const known = create(null);
    if (head.guarded) guardImports(known);
    let at = 0;
    for (let number = 0; number < head.modules.length; number++) {
      const { path, size, links, usesMeta } = head.modules[number];
      const added = usesMeta ? introduction(path) : "";
      const parts = [added];
      let done = at;
      for (let link = 0; link < links.length; link++) {
        const [first, behind, target] = links[link]; // and the line and column of its start
        parts.push(rest.slice(done, at + first), stringify(urls[target]));
        done = at + behind;
      }
      parts.push(rest.slice(done, at + size));
      at += size;
      const type = path.endsWith(".json") ? "application/json" : "text/javascript";
      urls.push(URL.createObjectURL(new Blob(parts, { type })));
      pathOf[urls[number]] = path;
      changesOf[urls[number]] = { __proto__: null, links, added: added.length };
      known[urls[number]] = true;
    }
    withhold(head.usesTemporal);
    const importing = import(urls[urls.length - 1]);
    const exported = await settled(importing);
    for (let number = 0; number < head.entries.length; number++) {
      const name = head.entries[number];
      if (typeof exported[name] !== "function") {
        throw new Misused(`${pathOf[urls[urls.length - 1]]} exports no function ${name}`);
      }
      functions[name] = exported[name];
    }
    for (let number = 0; number < head.streams.length; number++) {
      const name = head.streams[number];
      if (getPrototypeOf(functions[name]) !== asyncGeneratorFunction) {
        throw new Misused(`${name} is a stream, so it must be an async function*`);
      }
    }
    for (let number = 0; number < urls.length; number++) { // a URL that is revoked cannot be imported again
      revoke(urls[number]);
      known[urls[number]] = false;
    }
    if (debug) await turned();
  } catch (thrown) {
    const { name, message, place } = told(thrown);
    listening = false;
    const plain = refused !== null && includes(message, refused) ? refused : message;
    sendFailure(call, "guest-error", { name, message: plain, place });
    return;
  }
  tellsPlaces = debug;
  listening = false;
  send(LOADED, call, null, "");
}
