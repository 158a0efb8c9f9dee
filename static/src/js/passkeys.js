// <form data-passkey="create|get" data-options="{…}"> asks the browser for a passkey before it is
// sent, in its field "credential". data-options-from="/address/" fetches the options instead.
export function installPasskeys() {
  document.addEventListener("submit", async (event) => {
    const form = event.target.closest("form[data-passkey]");
    if (!form || form.dataset.passkeyDone) return;
    event.preventDefault();
    try {
      const options = await optionsOf(form);
      const credential =
        form.dataset.passkey === "create"
          ? await navigator.credentials.create(forCreation(options))
          : await navigator.credentials.get(forRequest(options));
      form.elements.credential.value = JSON.stringify(asJson(credential));
      form.dataset.passkeyDone = "yes";
      form.submit();
    } catch (error) {
      tell(form, error);
    }
  });
}

async function optionsOf(form) {
  if (form.dataset.options) return JSON.parse(form.dataset.options).publicKey;
  const answer = await fetch(form.dataset.optionsFrom, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`the portal answered ${answer.status}`);
  return (await answer.json()).request_options.publicKey;
}

function forCreation(options) {
  const selection = {
    ...options.authenticatorSelection,
    residentKey: "required",
    requireResidentKey: true,
    userVerification: "required",
  };
  return {
    publicKey: {
      ...options,
      authenticatorSelection: selection,
      challenge: bytes(options.challenge),
      user: { ...options.user, id: bytes(options.user.id) },
      excludeCredentials: keys(options.excludeCredentials),
    },
  };
}

function forRequest(options) {
  return {
    publicKey: {
      ...options,
      challenge: bytes(options.challenge),
      allowCredentials: keys(options.allowCredentials),
    },
  };
}

function keys(list) {
  return (list ?? []).map((key) => ({ ...key, id: bytes(key.id) }));
}

// WebAuthn's JSON (level 3, section 5.1), written here as not all browsers have it yet.
function asJson(credential) {
  const response = {};
  for (const name of [
    "clientDataJSON",
    "attestationObject",
    "authenticatorData",
    "signature",
    "userHandle",
  ]) {
    if (credential.response[name]) response[name] = text(credential.response[name]);
  }
  if (credential.response.getTransports) response.transports = credential.response.getTransports();
  return {
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment ?? undefined,
    response,
    clientExtensionResults: credential.getClientExtensionResults(),
  };
}

function bytes(base64url) {
  const base64 = base64url.replaceAll("-", "+").replaceAll("_", "/");
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

function text(buffer) {
  const letters = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
  return btoa(letters).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function tell(form, error) {
  const place = form.querySelector("[data-passkey-error]");
  if (!place) return;
  place.hidden = false;
  place.textContent = navigator.credentials
    ? reason(error)
    : "This browser gives passkeys to secure addresses (https) alone. Ask your administrator.";
}

function reason(error) {
  if (error.name === "InvalidStateError") return "This device keeps a passkey for you already.";
  if (error.name === "NotAllowedError") return "No passkey was used. Try again when you are ready.";
  if (error.name === "SecurityError") {
    return "The browser refuses passkeys at this address. Use the portal's own name, over https.";
  }
  return "The browser could not use a passkey. Try another one, or another way to sign in.";
}
