import { Button, Image, Text, View } from '@tarojs/components'
import Taro from '@tarojs/taro'
import { useEffect, useState } from 'react'
import { inWords } from 'wxsession-miniprogram/zh'
import { wxs } from '../../session'

export default function Index() {
  const [user, setUser] = useState(wxs.user)
  const [error, setError] = useState('')

  useEffect(() => {
    const stopListening = wxs.on('change', setUser)
    run(() => wxs.request({ url: '/user' })) // logs in by itself
    return stopListening
  }, [])

  // Waits for what `task` promises; a failure is told in words.
  async function run(task) {
    setError('')
    try {
      await task()
    } catch (problem) {
      setError(inWords(problem))
    }
  }

  // YOURS TO REPLACE: where pictures are kept. It answers {"url": "https://…"}.
  async function uploadPicture() {
    const { tempFilePaths } = await Taro.chooseImage({ count: 1 })
    const { statusCode, data } = await wxs.uploadFile({ url: '/pictures', filePath: tempFilePaths[0], name: 'file' })
    if (statusCode !== 200) throw { code: `HTTP ${statusCode}` }
    await wxs.updateUser({ avatar_url: JSON.parse(data).url })
  }

  return (
    <View>
      {user ? (
        <View>
          <Text id='user'>{user.nickname || user.username || user.id}</Text>
          {user.avatar_url && <Image src={user.avatar_url} mode='aspectFill' />}
          <Button id='upload' onClick={() => run(uploadPicture)}>更换头像</Button>
          <Button id='log-out' onClick={() => run(() => wxs.logout())}>退出登录</Button>
        </View>
      ) : (
        <Button id='log-in' type='primary' onClick={() => run(() => wxs.login())}>登录</Button>
      )}
      {error && <Text id='error'>{error}</Text>}
    </View>
  )
}
