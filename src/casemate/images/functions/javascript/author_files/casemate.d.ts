// What a JavaScript function is given in an enclave, for editors and for `deno check`.
//
//     /// <reference path="../casemate.d.ts" />
//     // @ts-check
//     /** @param {{ by: number }} input  @param {Casemate.Context} context */
//     export function increment(input, context) { ... }
//
// It declares one global namespace of types, so that a source needs no import, which an enclave would refuse.

declare namespace Casemate {
  /** A value that JSON can say. */
  type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

  /** The second argument of every function. It works while the call lasts. */
  interface Context {
    /** The entry point's name. */
    readonly entry: string;
    /** Who signed the call; null where nobody did. */
    readonly caller: Caller | null;
    /** What outlives the enclave. Each use throws where the manifest has no [state]. */
    readonly state: State;
    /** Keys that never leave the enclave. Each use throws where the manifest has no [keys.NAME]. */
    readonly keys: Keys;
    /** 32 hexadecimal digits, the same in all calls that one client's call leads to; null in code that is brought. */
    readonly trace: string | null;
    /** How long the call may take from its beginning (ms): the manifest's limit, or what its caller has left. */
    readonly deadline: number | null;
    /** The service's configuration, a fresh value each time; null where there is none. */
    // deno-lint-ignore no-explicit-any
    readonly config: any;
    /** The names of the permissions that the manifest grants, sorted. */
    readonly permissions: readonly string[];
    /**
     * Asks the host, which is not trusted. Throws an error named "ocall-refused" where the manifest does not declare the
     * OCALL, or the host does not answer as it declares.
     */
    // deno-lint-ignore no-explicit-any
    ocall(name: string, argument?: unknown): any;
    /**
     * A text that only an enclave of the same identity can open: "mrenclave" for this very code, "mrsigner" for every
     * version of it that its signer signs. Needs the permission "seal".
     */
    seal(value: unknown, policy: "mrenclave" | "mrsigner"): string;
    /** The value in a text that `seal` has made. Throws an error named "state-refused" for any other text. */
    // deno-lint-ignore no-explicit-any
    unseal(text: string): any;
    /**
     * Calls another enclave, which this one has appraised; needs [uses.NAME] in the manifest. Throws an `Error` whose
     * `name` is the other's own error or such as "time-limit", with `service`, `operation` and `details`; or one that is
     * named "peer-refused", "call-depth", "unavailable", "busy".
     */
    // deno-lint-ignore no-explicit-any
    call(service: string, operation: string, argument?: unknown): any;
    /**
     * Runs code that a caller has brought, in a guest of its own that has nothing; needs [run] in the manifest. `code`
     * is a source, or sources by path, of which main.js or main.py has the entry. Throws an `Error` with a `name` such as
     * "code-refused", "guest-error", "time-limit" or "memory-limit", and with `code_sha256` and `metrics`.
     */
    run(
      engine: "javascript" | "python",
      code: string | { [path: string]: string },
      entry: string,
      argument?: unknown,
      limits?: { memory_mib?: number; time_ms?: number; output_kib?: number },
    ): Ran;
    /**
     * A nonce (64 hexadecimal digits) for another enclave's evidence, good for one appraisal by the same caller within
     * five minutes; needs [appraise] in the manifest.
     */
    nonce(): string;
    /**
     * Appraises another enclave's evidence, in the form that the HTTP API gives, by a policy: a name in the manifest's
     * [appraise] policies, a text (TOML or JSON) or an object. Throws an `Error` named "appraisal-refused" with `rule`,
     * `got` and `want`.
     */
    appraise(evidence: unknown, policy: string | { [member: string]: unknown }, nonce?: string | null): Claims;
    /** What another enclave has sealed for this launch of this one; nothing says who, or when. Or "cannot-open". */
    // deno-lint-ignore no-explicit-any
    open(text: string): any;
    /** An error to throw: it ends the call with a code that the manifest declares under [errors]. */
    refuse(code: string, details?: unknown): Refusal;
  }

  /** What `run` gives. */
  interface Ran {
    // deno-lint-ignore no-explicit-any
    readonly result: any;
    /** SHA-256 of what `sha256sum` prints for the sources in the order of their paths. */
    readonly code_sha256: string;
    /** Of what nobody can tell, null. */
    readonly metrics: { readonly wall_us: number; readonly cpu_us: number | null; readonly peak_kib: number | null };
  }

  /** What verified evidence of another enclave says: docs/writing-functions.md has the members. */
  interface Claims {
    // deno-lint-ignore no-explicit-any
    readonly [member: string]: any;
    /** A text that only this launch of that enclave can open, with `context.open`. */
    seal(value: unknown): string;
  }

  /** Who signed a call, as the enclave has verified. */
  interface Caller {
    /** The name under the manifest's [callers]; null for a key that it does not name. */
    readonly name: string | null;
    /**
     * "ed25519:" and the base64 of the public key; of another enclave "enclave:" and 64 hexadecimal digits, the same for
     * all versions of its signer's product in one deployment.
     */
    readonly key: string;
    /** Of another enclave what its evidence proves, hashes in hexadecimal; absent for a caller who signs. */
    readonly enclave?: {
      readonly tee: string;
      readonly measurement: string;
      readonly mr_signer: string;
      readonly product_id: number;
      readonly security_version: number;
      readonly debug: boolean;
      readonly deployment: string;
    };
  }

  /**
   * Keys that the manifest names under [keys.NAME]: made inside, never to leave. Data has at most 1 MiB, as a string
   * (UTF-8) or bytes; what goes with it at most 64 KiB. What happens to a key stays, also where the call fails.
   */
  interface Keys {
    /** A signature of the newest version. */
    sign(name: string, data: string | Uint8Array): Uint8Array;
    /** Whether a signature (or a tag, of a key for "mac") is of this version, or of any that is kept. */
    verify(name: string, data: string | Uint8Array, signature: Uint8Array, options?: { version?: number }): boolean;
    /** A tag: 32 bytes. */
    mac(name: string, data: string | Uint8Array): Uint8Array;
    /** A text that only `decrypt` opens, with the same associated data. */
    encrypt(name: string, data: string | Uint8Array, associated?: string | Uint8Array): Uint8Array;
    /** The data in a text, of any version that is kept. Or "cannot-open". */
    decrypt(name: string, text: Uint8Array, associated?: string | Uint8Array): Uint8Array;
    /** A key for what `info` says: 32 bytes, or 16 to 1024. The same each time, until the key is rotated. */
    derive(name: string, info: string | Uint8Array, options?: { length?: number; version?: number }): Uint8Array;
    /** 32 bytes that only the owners of both keys have; `peer` is the other's public half, as `spki` below. */
    agree(name: string, peer: Uint8Array, info?: string | Uint8Array, options?: { version?: number }): Uint8Array;
    /** The public half (SubjectPublicKeyInfo, DER) of a key for "sign" or "agree". */
    public(name: string, options?: { version?: number }): {
      algorithm: string;
      purpose: string;
      version: number;
      versions: number[];
      spki: Uint8Array;
    };
    /** Makes a new version, the newest from now on; its number. Old ones go on verifying and opening. */
    rotate(name: string): number;
    /** Forgets an old version for good; whether it was there. */
    retire(name: string, version: number): boolean;
  }

  /** Sealed records. What a call changes is kept if it returns, and dropped if it throws. */
  interface State {
    /** The value of a key; undefined where there is none. */
    // deno-lint-ignore no-explicit-any
    get(key: string): any;
    put(key: string, value: unknown): void;
    /** Whether the key was there. */
    delete(key: string): boolean;
    /** The keys with this prefix, in order; 1000 where no limit is given, and 10,000 at most. */
    list(prefix?: string, options?: { after?: string | null; limit?: number }): string[];
    /** Sets the value if it is what is expected; undefined stands for a key that is absent. Whether it was so. */
    compareAndSet(key: string, expected: unknown, value: unknown): boolean;
  }

  /** What `refuse` makes, to be thrown. */
  interface Refusal extends Error {
    readonly code: string;
  }

  /** The third argument of a stream: what comes in, in pieces. */
  type Chunks = AsyncIterableIterator<Uint8Array>;
  /** What a stream is: it yields bytes or texts, and returns its result. */
  type Stream = AsyncGenerator<Uint8Array | string, unknown, void>;
}
