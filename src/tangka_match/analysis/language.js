// The language of a page, English or Chinese.

let language = navigator.language?.toLowerCase().startsWith("zh") ? 1 : 0;

/** Return the current language, `en` or `zh`. */
export function currentLanguage() {
  return language ? "zh" : "en";
}

/** Set the language of the page, `en` or `zh`. */
export function setLanguage(name) {
  language = name === "zh" ? 1 : 0;
  document.documentElement.lang = name === "zh" ? "zh-CN" : "en";
}

/** Return the English or the Chinese text of a pair, with `{0}`, `{1}` … filled in. */
export function inLanguage(pair, ...parts) {
  return pair[language].replace(/\{(\d)\}/g, (_, n) => parts[n]);
}
