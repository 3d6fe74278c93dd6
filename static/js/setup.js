// The time zone of the browser, where none was given yet.

const field = document.querySelector("[data-browser-zone]");
if (field && !field.value) {
  field.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "";
}
