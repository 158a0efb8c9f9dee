// A form that came back: begin at what is wrong.
export function showFirstError() {
  const wrong = document.querySelector("[aria-invalid=true], .is-invalid");
  const said = document.querySelector(".field-error, [data-testid=form-error]");
  if (wrong && !wrong.closest("dialog:not([open])")) wrong.focus({ preventScroll: true });
  if (said && !said.closest("dialog:not([open])")) said.scrollIntoView({ block: "center" });
}
