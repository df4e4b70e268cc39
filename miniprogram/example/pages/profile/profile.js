// Nickname and picture: the user fills them in, WeChat only offers its own. They prove nothing.
const wxs = require('../../session')
const { uploadPicture } = require('../../upload')

Component({
  behaviors: [require('../../behaviors/session')],

  data: {
    picture: '', // a temporary file on the phone, gone after a while: it has to be uploaded
  },

  methods: {
    choosePicture(event) {
      this.setData({ picture: event.detail.avatarUrl })
    },

    // The nickname comes from the form, not from bindinput: that is not called when WeChat fills
    // the field in, nor when its content check empties it.
    save(event) {
      return this.run(async () => {
        const changes = { nickname: event.detail.value.nickname.trim() || null } // null clears it
        if (this.data.picture) changes.avatar_url = await uploadPicture(this.data.picture)
        await wxs.updateUser(changes)
        this.setData({ picture: '' })
        wx.showToast({ title: '已保存' })
      })
    },
  },
})
