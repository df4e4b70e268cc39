// The silent login: no button, no dialog. The user is known before anything is asked.
const wxs = require('../../session')

Component({
  behaviors: [require('../../behaviors/session')],

  data: {
    days: 0, // how long the session is good if it is not used; 0: not known yet
  },

  lifetimes: {
    attached() {
      this.run(async () => {
        const session = await wxs.check()
        // Whoever has logged out stays so until the button is pressed.
        if (session.active || session.code === 'logged_out') this.show(session)
        else await this.startSession()
      })
    },
  },

  methods: {
    logIn() {
      return this.run(() => this.startSession())
    },

    logOut() {
      return this.run(() => wxs.logout())
    },

    logOutEverywhere() {
      return this.run(() => wxs.logout({ everywhere: true }))
    },

    // WeChat asks every mini-program for this: who wants to go can go, and knows what is lost.
    deleteAccount() {
      return this.run(async () => {
        const { confirm } = await wx.showModal({
          title: '注销账号',
          content: '账号和资料会被永久删除，无法恢复。',
          confirmText: '注销',
        })
        if (confirm) await wxs.deleteUser()
      })
    },

    async startSession() {
      await wxs.login()
      this.show(await wxs.check())
    },

    show(session) {
      this.setData({ days: session.active ? Math.ceil(session.expires_in / 86400) : 0 })
    },
  },
})
