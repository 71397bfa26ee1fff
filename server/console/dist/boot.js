// Runs before the first paint, so that a page in the dark does not flash white.
try {
  var theme = localStorage.getItem('surefoot.theme')
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme
} catch (e) {
  // storage is blocked: follow the system
}
