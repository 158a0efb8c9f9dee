// Secrets that only one host can read: the browser's half of agent/protocol/crypto.py.
import { chacha20poly1305 } from "@noble/ciphers/chacha";
import { concatBytes, utf8ToBytes } from "@noble/hashes/utils";
import { x25519 } from "@noble/curves/ed25519";
import { hkdf } from "@noble/hashes/hkdf";
import { sha256 } from "@noble/hashes/sha2";
import { encode } from "@msgpack/msgpack";

const KEY_BYTES = 32;
const NONCE = new Uint8Array(12);

// Each part with its length, so that no two lists of parts give the same bytes.
function statement(...parts) {
  return concatBytes(
    ...parts.flatMap((part) => {
      const length = new Uint8Array(4);
      new DataView(length.buffer).setUint32(0, part.length);
      return [length, part];
    }),
  );
}

// The ephemeral public key, and what it encrypts: used once, so the nonce is zero.
export function seal(publicKey, plaintext, purpose) {
  const secret = x25519.utils.randomPrivateKey();
  const ephemeral = x25519.getPublicKey(secret);
  const shared = x25519.getSharedSecret(secret, publicKey);
  const info = statement(
    utf8ToBytes("basalt seal 1"),
    ephemeral,
    publicKey,
    utf8ToBytes(purpose),
  );
  const key = hkdf(sha256, shared, undefined, info, KEY_BYTES);
  return concatBytes(ephemeral, chacha20poly1305(key, NONCE).encrypt(plaintext));
}

// What the host is told under seal: see GuestSpec.sealed_secrets. Base64 in and out.
export function sealSecrets(publicKey, { password, userData }, purpose) {
  const plaintext = encode({ password: password || null, user_data: userData || null });
  return toBase64(seal(fromBase64(publicKey), plaintext, purpose));
}

function fromBase64(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function toBase64(bytes) {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}
