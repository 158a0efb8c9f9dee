// What a VM of the sizes in a form would make of the quotas over it, while they are typed.
const UNITS = { memory_mib: ["GiB", 1024], disk_gib: ["GiB", 1] };

function words(name, amount) {
  const [unit, of] = UNITS[name] ?? ["", 1];
  const shown = Number((amount / of).toFixed(2)).toLocaleString("en");
  return unit ? `${shown} ${unit}` : shown;
}

function number(field) {
  const value = Number.parseFloat(field.value);
  return Number.isFinite(value) && value > 0 ? value : 0;
}

function asked(form, prefix) {
  const found = { vms: 1, vcpus: 0, memory_mib: 0, disk_gib: 0 };
  for (const field of form.elements) {
    if (!field.name?.startsWith(prefix)) continue;
    const name = field.name.slice(prefix.length);
    if (name === "vcpus") found.vcpus = number(field);
    else if (name === "memory_gib") found.memory_mib = Math.trunc(number(field) * 1024);
    else if (/^(disk_|new_disk$|data_disk$)/.test(name)) found.disk_gib += number(field);
  }
  return found;
}

function show(room) {
  const form = room.closest("form");
  if (!form) return;
  const wish = asked(form, room.dataset.prefix);
  const now = room.dataset.now ? { vms: 1, ...JSON.parse(room.dataset.now) } : {};
  const over = new Map();
  for (const gauge of room.querySelectorAll("[data-quota]")) {
    const name = gauge.dataset.quota;
    const more = Math.max((wish[name] ?? 0) - (now[name] ?? 0), 0);
    const used = Number(gauge.dataset.used);
    const limit = Number(gauge.dataset.limit);
    const bar = gauge.querySelector(".bar");
    let part = bar.querySelector(".more");
    if (!part) {
      part = document.createElement("span");
      part.className = "more";
      bar.append(part);
    }
    const share = limit ? (more / limit) * 100 : 0;
    part.style.width = `${Math.min(share, Math.max(100 - (used / (limit || 1)) * 100, 0))}%`;
    part.hidden = !more;
    const fits = !more || used + more <= limit;
    const left = words(name, Math.max(limit - used - more, 0));
    const added = more ? ` + ${words(name, more)}` : "";
    gauge.querySelector(".top .num").textContent =
      `${words(name, used)}${added} of ${words(name, limit)}`;
    if (!fits) {
      const label = gauge.querySelector(".name").textContent;
      const { of } = gauge.dataset;
      const so = `${label} ${words(name, used + more - limit)} over`;
      over.set(of, [...(over.get(of) ?? []), so]);
    }
    gauge.classList.toggle("too-much", !fits);
    gauge.title = more && fits ? `${left} left after it` : "";
  }
  const verdict = room.querySelector("[data-quota-verdict]");
  const sentences = [...over].map(([of, parts]) => `${of}: ${parts.join(", ")}.`);
  const sentence = over.size ? `Does not fit. ${sentences.join(" ")}` : "";
  if (verdict.textContent !== sentence) verdict.textContent = sentence;
}

export function installQuota() {
  const all = () => document.querySelectorAll("[data-quota-room]").forEach(show);
  for (const kind of ["input", "change", "click", "htmx:afterSettle"]) {
    document.addEventListener(kind, () => {
      // After what else listens: the cards of usual sizes fill in the numbers.
      if (document.querySelector("[data-quota-room]")) queueMicrotask(all);
    });
  }
  all();
}
