// What the four pages have in common: they show the user, and do one thing at a time.
const wxs = require('../session')
const { inWords } = require('../words')

module.exports = Behavior({
  data: {
    user: null,
    busy: false,
    error: '',
  },

  lifetimes: {
    attached() {
      const show = () => this.setData({ user: wxs.user || null })
      this.stopListening = wxs.on('change', show)
      show()
    },
    detached() {
      this.stopListening() // wxs outlives the page, and would go on calling it
    },
  },

  methods: {
    // Waits for what `task` promises. Buttons are disabled meanwhile; a failure is told in words.
    async run(task) {
      if (this.data.busy) return
      this.setData({ busy: true, error: '' })
      try {
        await task()
      } catch (error) {
        console.error(error)
        this.setData({ error: inWords(error) })
      }
      this.setData({ busy: false })
    },
  },
})
