// The small moving parts of forms.
const ALPHABET = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

// 20 characters without look-alikes, in groups: about 116 bits.
function password() {
  const limit = 256 - (256 % ALPHABET.length);
  let text = "";
  while (text.length < 20) {
    for (const byte of crypto.getRandomValues(new Uint8Array(32))) {
      if (byte < limit && text.length < 20) text += ALPHABET[byte % ALPHABET.length];
    }
  }
  return text.match(/.{5}/g).join("-");
}

export function registerForms(Alpine) {
  Alpine.data("secret", () => ({
    shown: false,
    get type() {
      return this.shown ? "text" : "password";
    },
    get label() {
      return this.shown ? "Hide" : "Show";
    },
    toggle() {
      this.shown = !this.shown;
    },
    generate() {
      this.shown = true;
      const field = this.$root.querySelector("input");
      field.value = password();
      field.dispatchEvent(new Event("input", { bubbles: true }));
      this.$nextTick(() => {
        field.focus();
        field.select();
      });
    },
    get copyable() {
      return this.shown;
    },
  }));

  // Sizes: cards for the usual ones, numbers for the rest.
  Alpine.data("sizes", () => ({
    choice: "",
    init() {
      this.read();
    },
    read() {
      this.choice = this.$root.querySelector("input[name=size]:checked")?.value ?? "custom";
      const card = this.$root.querySelector("input[name=size]:checked");
      if (!card || card.value === "custom") return;
      for (const name of ["vcpus", "memory_gib", "disk_gib"]) {
        const field = this.$root.querySelector(`[name=${name}]`);
        if (field) field.value = card.dataset[name];
      }
    },
    get custom() {
      return this.choice === "custom";
    },
  }));

  // Extra data disks: a row for each.
  Alpine.data("disks", () => ({
    add() {
      const rows = this.$root.querySelector("[data-disk-rows]");
      const row = this.$root.querySelector("template").content.cloneNode(true);
      rows.append(row);
      rows.lastElementChild.querySelector("input").focus();
    },
    remove(event) {
      event.target.closest("[data-disk-row]").remove();
    },
  }));

  // What the VM's image wants: its user's name follows, until somebody typed another.
  Alpine.data("createVm", () => ({
    sending: false,
    typedUsername: false,
    init() {
      const field = this.$root.querySelector("[name=username]");
      this.typedUsername = field.dataset.typed === "yes";
      field.addEventListener("input", () => {
        this.typedUsername = field.value !== "";
      });
      this.$root.addEventListener("change", (event) => {
        if (event.target.name !== "image" || this.typedUsername) return;
        field.value = event.target.dataset.username;
      });
    },
  }));

  Alpine.data("network", () => ({
    kind: "nat",
    init() {
      this.read();
    },
    read() {
      this.kind = this.$root.querySelector("input[name=kind]:checked")?.value ?? "nat";
    },
    get nat() {
      return this.kind === "nat";
    },
    get bridge() {
      return this.kind === "bridge";
    },
  }));
}
